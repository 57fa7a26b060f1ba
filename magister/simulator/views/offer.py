"""An offer in the shape Vast gives it, with the gaps and odd types seen in real answers."""

from magister.simulator.market.clock import Calendar
from magister.simulator.market.machines import HOURS_PER_MONTH, Machine
from magister.simulator.market.traffic import DOWN_PRICE, UP_PRICE

SECONDS_PER_DAY = 86_400.0


def costs(gpu: float, disk: float) -> dict[str, object]:
    """Give the cost object Vast repeats under `search` and `instance`, in dollars per hour."""
    total = gpu + disk
    return {
        "gpuCostPerHour": gpu,
        "diskHour": disk,
        "totalHour": total,
        "discountTotalHour": 0.0,
        "discountedTotalPerHour": total,
    }


def time_left(secs: float) -> str:
    """Word a remaining time the way Vast does, e.g. `12 D 16 Hr`; empty when it is over."""
    if secs <= 0:
        return ""
    days, rest = divmod(secs, SECONDS_PER_DAY)
    return f"{int(days)} D {int(rest // 3600)} Hr"


def country_of(place: str | None) -> str | None:
    """Give the two-letter code at the end of a location."""
    return None if place is None else place.rpartition(",")[2].strip()


def offer_view(
    offer_id: int,
    machine: Machine,
    gpus: tuple[int, ...],
    *,
    hourly: float,
    disk: float,
    ends_at: float,
    now: float,
    calendar: Calendar,
    rented: bool,
    bid: bool,
) -> dict[str, object]:
    """Give one offer priced with `disk` GB; `hourly` is the price of its GPUs in dollars."""
    price = round(hourly * 0.6, 6) if bid else hourly
    storage = machine.storage_price * disk / HOURS_PER_MONTH
    view: dict[str, object] = {
        "id": offer_id,
        "ask_contract_id": offer_id,
        "bundle_id": machine.id * 100 + len(gpus),
        "bundled_results": None,
        "machine_id": machine.id,
        "host_id": machine.host_id,
        "rentable": True,
        "rented": rented,
        "is_bid": bid,
        "start_date": calendar.told(ends_at - machine.lifetime),
        "end_date": calendar.told(ends_at),
        "duration": ends_at - now,
        "time_remaining": time_left(ends_at - now),
        "time_remaining_isbid": time_left(ends_at - now),
        "external": False,
        "rn": 1,
    }
    view |= (
        _prices(machine, price, storage, hourly)
        | _gpus(machine, gpus, price + storage)
        | _host(machine, gpus)
    )
    return _odd(machine, view)


def _prices(machine: Machine, price: float, storage: float, hourly: float) -> dict[str, object]:
    total = price + storage
    return {
        "dph_base": price,
        "dph_total": total,
        "dph_total_adj": total,
        "discounted_dph_total": total,
        "discounted_hourly": 0.0,
        "discount_rate": 0.0,
        "credit_discount_max": 0.1,
        "min_bid": round(hourly * 0.6, 6),
        "storage_cost": machine.storage_price,
        "storage_total_cost": storage,
        "inet_up_cost": UP_PRICE,
        "inet_down_cost": DOWN_PRICE,
        "internet_up_cost_per_tb": UP_PRICE * 1024,
        "internet_down_cost_per_tb": DOWN_PRICE * 1024,
        "vram_costperhour": price / max(1, machine.gpu.ram),
        "search": costs(price, storage),
        "instance": costs(0.0, storage),
    }


def _gpus(machine: Machine, gpus: tuple[int, ...], total: float) -> dict[str, object]:
    gpu, count = machine.gpu, len(gpus)
    share = count / machine.gpus if machine.gpus else 0.0
    return {
        "resource_type": "gpu" if count else "storage",
        "num_gpus": count,
        "gpu_ids": [machine.id * 10 + index for index in gpus],
        "gpu_name": gpu.name,
        "gpu_arch": "nvidia",
        "gpu_ram": gpu.ram,
        "gpu_total_ram": gpu.ram * count,
        "gpu_frac": share,
        "gpu_lanes": 16,
        "gpu_mem_bw": gpu.bandwidth,
        "gpu_max_power": 450.0,
        "gpu_max_temp": 90.0,
        "gpu_display_active": False,
        "compute_cap": gpu.compute_cap,
        "cuda_max_good": machine.cuda,
        "driver_version": machine.driver,
        "driver_vers": driver_number(machine.driver),
        "bw_nvlink": 0.0,
        "pci_gen": 4.0,
        "pcie_bw": 24.9,
        "total_flops": gpu.tflops * count,
        "flops_per_dphtotal": gpu.tflops * count / total,
        "dlperf": gpu.dlperf * count,
        "dlperf_per_dphtotal": gpu.dlperf * count / total,
        "score": gpu.dlperf * count / total * machine.reliability,
        "cpu_cores": machine.cores,
        "cpu_cores_effective": machine.cores * share,
        "cpu_ram": machine.ram,
    }


def _host(machine: Machine, gpus: tuple[int, ...]) -> dict[str, object]:
    return {
        "reliability": machine.reliability,
        "reliability2": machine.reliability,
        "reliability_mult": 1.0,
        "expected_reliability": machine.reliability,
        "verification": "verified" if machine.verified else "unverified",
        "vericode": int(machine.verified),
        "hosting_type": int(machine.datacenter),
        "geolocation": machine.place,
        "geolocode": sum(map(ord, machine.place)) * 65_537,
        "public_ipaddr": f"{machine.address}\n",
        "static_ip": machine.datacenter,
        "direct_port_count": 100 * max(1, len(gpus)),
        "inet_up": machine.inet * 0.8,
        "inet_down": machine.inet,
        "disk_space": machine.disk,
        "disk_bw": 2500.0,
        "disk_name": "NVMe",
        "cpu_name": "EPYC 7543 32-Core Processor",
        "cpu_arch": "amd64",
        "cpu_ghz": 3.2,
        "has_avx": 1,
        "mobo_name": "ROMED8-2T",
        "os_version": "22.04",
        "hostname": None,
        "webpage": None,
        "logo": "/static/logos/vastai_small2.png",
        "vms_enabled": False,
        "is_vm_deverified": False,
        "cluster_id": None,
        "avail_vol_ask_id": None,
        "avail_vol_dph": None,
        "avail_vol_size": None,
        "nw_disk_min_bw": None,
        "nw_disk_max_bw": None,
        "nw_disk_avg_bw": None,
    }


def driver_number(version: str) -> int:
    """Turn `535.86.05` into 535086005, the form Vast filters by."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major * 1_000_000 + minor * 1_000 + patch


def _odd(machine: Machine, view: dict[str, object]) -> dict[str, object]:
    for quirk in machine.quirks:
        match quirk:
            case "no_cpu_cores":
                view["cpu_cores"] = None
            case "no_place":
                view["geolocation"] = None
            case "no_cpu_names":
                view |= {"cpu_ghz": None, "cpu_name": None, "mobo_name": None, "start_date": None}
                del view["bundled_results"]
            case "external_null":
                view["external"] = None
            case "external_int":
                view["external"] = 0
            case "end_date_text":
                view["end_date"] = str(view["end_date"])
            case "numbers_as_text":
                view |= {"disk_bw": str(view["disk_bw"]), "inet_up_cost": str(view["inet_up_cost"])}
            case "nan":
                view |= {"dlperf_per_dphtotal": float("nan"), "score": float("inf")}
    return view
