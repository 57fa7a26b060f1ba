"""A rented box in the shape Vast lists it."""

from magister.simulator.market.clock import Calendar
from magister.simulator.market.contracts import Contract
from magister.simulator.market.market import Market
from magister.simulator.market.traffic import totals
from magister.simulator.views.offer import costs, offer_view, time_left

ANYWHERE = "0.0.0.0"  # noqa: S104 - shown, never bound
FROM_OFFER = (
    "host_id",
    "bundle_id",
    "hosting_type",
    "gpu_name",
    "gpu_arch",
    "gpu_ram",
    "gpu_frac",
    "gpu_lanes",
    "gpu_mem_bw",
    "bw_nvlink",
    "cpu_arch",
    "cpu_cores",
    "cpu_cores_effective",
    "cpu_name",
    "cpu_ram",
    "disk_name",
    "disk_bw",
    "direct_port_count",
    "static_ip",
    "geolocation",
    "verification",
    "rentable",
    "external",
    "inet_up",
    "inet_down",
    "inet_up_cost",
    "inet_down_cost",
    "internet_up_cost_per_tb",
    "internet_down_cost_per_tb",
    "reliability2",
    "dlperf",
    "score",
    "total_flops",
    "mobo_name",
    "pci_gen",
    "pcie_bw",
    "compute_cap",
    "driver_version",
    "credit_discount_max",
    "webpage",
    "logo",
)


def instance_view(market: Market, contract: Contract, calendar: Calendar) -> dict[str, object]:
    """Give one instance; it names its machine but, as at Vast, not the offer it was rented by."""
    machine = market.estate.under(contract)
    offer = offer_view(
        contract.offer_id,
        machine,
        tuple(contract.gpus),
        hourly=contract.gpu_price,
        disk=contract.disk,
        ends_at=contract.ends_at,
        now=market.now,
        calendar=calendar,
        rented=True,
        bid=False,
    )
    view = {name: offer[name] for name in FROM_OFFER}
    view |= _identity(contract) | _dates(contract, market.now, calendar) | _money(market, contract)
    return view | _state(market, contract) | _network(market, contract) | totals(contract)


def _identity(contract: Contract) -> dict[str, object]:
    return {
        "id": contract.id,
        "machine_id": contract.machine_id,
        "label": contract.label,
        "template_id": None if contract.template is None else 1,
        "template_hash_id": contract.template,
        "template_name": None if contract.template is None else "contemplant",
        "image_uuid": contract.image,
        "image_args": contract.args,
        "image_runtype": contract.runtype,
        "extra_env": contract.env,
        "onstart": contract.onstart,
        "jupyter_token": contract.api_key[::-1],
        "num_gpus": len(contract.gpus),
        "is_bid": contract.bid is not None,
        "country_code": None,
        "volume_info": [],
    }


def _dates(contract: Contract, now: float, calendar: Calendar) -> dict[str, object]:
    left = contract.ends_at - now
    since = contract.running_since
    return {
        "start_date": calendar.told(contract.created_at),
        "end_date": calendar.told(contract.ends_at),
        "duration": left,
        "uptime_mins": None if since is None else (now - since) / 60,
        "time_remaining": time_left(left),
        "time_remaining_isbid": time_left(left),
        "client_run_time": now - contract.created_at,
        "host_run_time": now - contract.created_at,
    }


def _money(market: Market, contract: Contract) -> dict[str, object]:
    gpu, disk = contract.gpu_price, contract.storage_hourly
    running = contract.status == "running" and not market.estate.under(contract).offline
    return {
        "dph_base": gpu,
        "dph_total": gpu + disk,
        "min_bid": round(gpu * 0.6, 6),
        "storage_cost": contract.storage_price,
        "storage_total_cost": disk,
        "vram_costperhour": gpu / max(1, market.estate.under(contract).gpu.ram),
        "search": costs(gpu, disk),
        "instance": costs(gpu if running else 0.0, disk),
        "credit_balance": None,
        "credit_discount": None,
        "flops_per_dphtotal": market.estate.under(contract).gpu.tflops * len(contract.gpus) / (gpu + disk),
        "dlperf_per_dphtotal": None,
    }


def _state(market: Market, contract: Contract) -> dict[str, object]:
    running = market.actual_status(contract) == "running"
    return {
        "actual_status": market.actual_status(contract),
        "intended_status": contract.intended,
        "cur_state": contract.intended,
        "next_state": contract.intended,
        "status_msg": contract.status_msg,
        "gpu_totalram": market.estate.under(contract).gpu.ram * len(contract.gpus),
        "gpu_util": 97.0 if running else None,
        "gpu_temp": 61.0 if running else None,
        "cpu_util": 12.5 if running else 0.0,
        "mem_limit": 64.0 if running else None,
        "mem_usage": 9.5 if running else None,
        "vmem_usage": 8.1 if running else None,
        "disk_space": contract.disk,
        "disk_usage": 6.5 if running else -1.0,
        "disk_util": 6.5 / contract.disk if running else -1.0,
        "os_version": None,
        "cuda_max_good": str(market.estate.under(contract).cuda),
    }


def _network(market: Market, contract: Contract) -> dict[str, object]:
    up = contract.status in ("loading", "running")
    running = contract.status == "running"
    first = 40_000 + contract.id % 5_000
    bindings = [{"HostIp": ANYWHERE, "HostPort": str(first)}, {"HostIp": "::", "HostPort": str(first)}]
    return {
        "public_ipaddr": f"{market.estate.under(contract).address}\n" if up else None,
        "local_ipaddrs": "10.0.0.5 172.17.0.2 \n",
        "ssh_host": f"ssh{contract.id % 9 + 1}.vast.ai",
        "ssh_idx": str(contract.id % 9 + 1),
        "ssh_port": 10_000 + contract.id % 20_000 if up else None,
        "machine_dir_ssh_port": first + 2,
        "direct_port_start": first if running else -1,
        "direct_port_end": first + 2 if running else -1,
        "ports": {"9011/tcp": bindings, "22/tcp": None} if running else None,
    }
