"""The search filter and the worker's variables that come of the settings."""

from pathlib import Path

import pytest

from magister.errors import BadSettings
from magister.settings.contemplant import Contemplant, Prover
from magister.settings.model import Loaded, load
from magister.settings.runtime import VastQuery
from tests.builders import public_key

REQUIRED = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "hierophant.example",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "4",
}

SP1_IN_THE_FILE = "[[contemplant.provers]]\nvm = 'sp1'\nbackend = 'cuda'\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(toml: str = "", dotenv: str = "", **environ: str) -> Loaded:
    if toml:
        Path("magister.toml").write_text(toml, encoding="utf-8")
    if dotenv:
        Path(".env").write_text(dotenv, encoding="utf-8")
    return load(None, REQUIRED | environ)


def refused(toml: str = "", **environ: str) -> str:
    with pytest.raises(BadSettings) as caught:
        loaded(toml, **environ)
    (problem,) = caught.value.problems
    return problem


def provers(toml: str = "", dotenv: str = "", **environ: str) -> dict[str, str]:
    """Return the variables about provers that the worker gets."""
    always = Contemplant().exports()
    exports = loaded(toml, dotenv, **environ).settings.contemplant.exports()
    return {name: value for name, value in exports.items() if name not in always}


def test_an_absent_setting_is_no_filter() -> None:
    assert VastQuery().filters() == {}


def test_filters_are_in_the_units_of_vast() -> None:
    query = VastQuery(
        allocated_storage=16,
        gpu_name=("RTX 4090", "RTX 5090"),
        reliability=0.99,
        min_cuda_version=12.8,
        gpu_ram=24,
        disk_space=100,
        duration=192679,
        cost_per_hour=0.6,
        num_gpus=1,
        geolocation=("se", "NO"),
    )
    assert query.filters() == {
        "reliability2": {"gte": 0.99},
        "cuda_max_good": {"gte": 12.8},
        "gpu_ram": {"gte": 24000},
        "disk_space": {"gte": 100},
        "duration": {"gte": 192679},
        "allocated_storage": 100,
        "gpu_name": {"in": ["RTX 4090", "RTX 5090"]},
        "dph_total": {"lte": 0.6},
        "num_gpus": {"eq": 1},
        "geolocation": {"in": ["SE", "NO"]},
    }


@pytest.mark.parametrize(
    ("allocated", "disk", "rented", "priced"),
    [(None, None, 16, 16), (40, None, 40, 40), (None, 20, 20, 20), (40, 20, 20, 40), (16, 100, 100, 100)],
)
def test_offers_are_priced_for_no_less_than_the_disk_rented(
    allocated: float | None, disk: float | None, rented: float, priced: float
) -> None:
    query = VastQuery(allocated_storage=allocated, disk_space=disk)
    assert (query.disk_gb, query.priced_storage_gb) == (rented, priced)


def test_a_disk_below_what_vast_rents_is_refused_wherever_it_comes_from() -> None:
    assert refused(VAST_QUERY_DISK_SPACE="7.9").endswith(
        "must be at least 8 GB, the smallest disk Vast rents"
    )
    assert refused("[vast_query]\nallocated_storage = 4").endswith("(it is taken from allocated_storage = 4)")
    assert loaded("[vast_query]\nallocated_storage = 4\ndisk_space = 8").settings.vast_query.disk_gb == 8


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"VAST_QUERY_RELIABILITY": "99"}, "a share, 0 to 1"),
        ({"VAST_QUERY_COST_PER_HOUR": "-0.1"}, "a number of USD per hour, 0 or more"),
        ({"VAST_QUERY_COST_PER_HOUR": "inf"}, "a number of USD per hour, 0 or more"),
        ({"VAST_QUERY_NUM_GPUS": "0"}, "a whole number, 1 to 64"),
        ({"VAST_QUERY_GEOLOCATION": "SE,Norway"}, "a list of two-letter country codes"),
    ],
)
def test_a_filter_out_of_range_is_refused(variables: dict[str, str], said: str) -> None:
    assert refused(**variables).endswith(f"must be {said}")


@pytest.mark.parametrize(("code", "right"), [("UK", "GB"), ("eu", "DE, FR, SE"), ("XX", "ISO 3166")])
def test_a_code_of_no_country_is_refused_with_the_right_one(code: str, right: str) -> None:
    said = refused(VAST_QUERY_GEOLOCATION=f"SE,{code}")
    assert f"{code.upper()} is none: " in said
    assert right in said


def test_what_has_a_default_is_always_exported() -> None:
    assert loaded().settings.contemplant.exports() == {
        "HTTP_PORT": "9011",
        "HEARTBEAT_INTERVAL_SECONDS": "30",
        "MAX_PROOFS_STORED": "2",
        "MOONGATE_LOG_PATH": "./moongate.log",
        "WATCHER_POLLING_INTERVAL_MS": "2000",
    }


def test_exports_keep_their_order() -> None:
    contemplant = loaded(
        CONTEMPLANT_NAME="paulos",
        CONTEMPLANT_SSH_AUTHORIZED_KEYS=public_key(),
        CONTEMPLANT_PROVER_TYPE="cuda",
    ).settings.contemplant
    assert list(contemplant.exports()) == [
        "CONTEMPLANT_NAME",
        "HTTP_PORT",
        "HEARTBEAT_INTERVAL_SECONDS",
        "MAX_PROOFS_STORED",
        "MOONGATE_LOG_PATH",
        "WATCHER_POLLING_INTERVAL_MS",
        "SSH_AUTHORIZED_KEYS",
        "PROVER_TYPE",
        "CONTEMPLANT_VMS",
        "CONTEMPLANT_SP1_BACKEND",
    ]


def test_nothing_is_said_about_provers_when_nothing_is_set() -> None:
    assert provers() == {}


def test_provers_of_the_file_become_the_variables_of_the_worker() -> None:
    toml = SP1_IN_THE_FILE + "moongate_endpoint = 'http://m/'\n"
    toml += "[[contemplant.provers]]\nvm = 'risc0'\ngroth16_enabled = true\n"
    assert provers(toml) == {
        "CONTEMPLANT_VMS": "sp1,risc0",
        "CONTEMPLANT_SP1_BACKEND": "cuda",
        "MOONGATE_ENDPOINT": "http://m/",
        "CONTEMPLANT_RISC0_BACKEND": "cpu",
        "CONTEMPLANT_RISC0_GROTH16": "true",
    }


@pytest.mark.parametrize(
    ("variables", "exported"),
    [
        ({"CONTEMPLANT_VMS": "sp1"}, {"CONTEMPLANT_VMS": "sp1", "CONTEMPLANT_SP1_BACKEND": "cpu"}),
        (
            {
                "CONTEMPLANT_VMS": "risc0",
                "CONTEMPLANT_RISC0_BACKEND": "CUDA",
                "CONTEMPLANT_RISC0_GROTH16": "no",
            },
            {
                "CONTEMPLANT_VMS": "risc0",
                "CONTEMPLANT_RISC0_BACKEND": "cuda",
                "CONTEMPLANT_RISC0_GROTH16": "false",
            },
        ),
        ({"CONTEMPLANT_SP1_BACKEND": "cuda"}, {"CONTEMPLANT_VMS": "sp1", "CONTEMPLANT_SP1_BACKEND": "cuda"}),
    ],
)  # fmt: skip
def test_variables_describe_provers_when_the_file_has_none(
    variables: dict[str, str], exported: dict[str, str]
) -> None:
    assert provers("[contemplant]\nhttp_port = 9011", **variables) == exported


def test_the_variables_of_one_prover_may_stand_in_two_places() -> None:
    read = loaded(dotenv="CONTEMPLANT_SP1_BACKEND=cuda\n", CONTEMPLANT_VMS="sp1")
    assert read.settings.contemplant.provers == (Prover(vm="sp1", backend="cuda"),)
    assert read.origins["contemplant.provers"] == "environment CONTEMPLANT_VMS, .env CONTEMPLANT_SP1_BACKEND"


def test_the_file_wins_over_the_variables_for_provers_and_says_so() -> None:
    read = loaded(SP1_IN_THE_FILE, CONTEMPLANT_VMS="risc0")
    assert [prover.vm for prover in read.settings.contemplant.provers] == ["sp1"]
    assert read.origins["contemplant.provers"] == "magister.toml"
    assert (
        "CONTEMPLANT_VMS: without effect, for contemplant.provers comes from magister.toml" in read.warnings
    )


def test_a_variable_of_a_prover_that_is_not_run_warns() -> None:
    warnings = loaded(CONTEMPLANT_VMS="sp1", CONTEMPLANT_RISC0_BACKEND="cuda").warnings
    said = "without effect, for contemplant.provers comes from environment CONTEMPLANT_VMS"
    assert f"CONTEMPLANT_RISC0_BACKEND: {said}" in warnings


@pytest.mark.parametrize(
    ("toml", "variables", "endpoint"),
    [
        ("moongate_endpoint = 'http://file'", {"CONTEMPLANT_MOONGATE_ENDPOINT": "http://a"}, "http://file"),
        ("", {"CONTEMPLANT_MOONGATE_ENDPOINT": "http://a", "MOONGATE_ENDPOINT": "http://b"}, "http://a"),
        ("", {"MOONGATE_ENDPOINT": "http://b"}, "http://b"),
    ],
)
def test_moongate_is_the_provers_then_ours_then_the_general_one(
    toml: str, variables: dict[str, str], endpoint: str
) -> None:
    assert provers(SP1_IN_THE_FILE + toml, **variables)["MOONGATE_ENDPOINT"] == endpoint


def test_moongate_without_an_sp1_prover_has_no_effect_and_warns() -> None:
    read = loaded(MOONGATE_ENDPOINT="http://b", CONTEMPLANT_VMS="risc0")
    assert "MOONGATE_ENDPOINT" not in read.settings.contemplant.exports()
    assert "contemplant.moongate_endpoint: without effect, for no sp1 prover is set" in read.warnings


def test_the_older_prover_type_stands_for_one_sp1_prover_only_when_there_are_none() -> None:
    assert provers("[contemplant]\nprover_type = 'cuda'") == {
        "PROVER_TYPE": "cuda",
        "CONTEMPLANT_VMS": "sp1",
        "CONTEMPLANT_SP1_BACKEND": "cuda",
    }
    assert provers(CONTEMPLANT_PROVER_TYPE="cuda", CONTEMPLANT_VMS="risc0") == {
        "PROVER_TYPE": "cuda",
        "CONTEMPLANT_VMS": "risc0",
        "CONTEMPLANT_RISC0_BACKEND": "cpu",
    }


@pytest.mark.parametrize(
    ("toml", "start", "end"),
    [
        ("vm = 'sp2'", 'contemplant.provers[0].vm = "sp2" from', "must be sp1, risc0 or openvm"),
        ("backend = 'cpu'", "contemplant.provers[0].vm is required", "(magister.toml)"),
        ("vm = 'risc0'\nevm_enabled = true", "contemplant.provers[0].evm_enabled = true", "openvm only"),
        ("vm = 'sp1'\ngroth16_enabled = true", "contemplant.provers[0].groth16_enabled = true", "risc0 only"),
        ("vm = 'risc0'\nmoongate_endpoint = 'x'", "contemplant.provers[0].moongate_endpoint", "sp1 only"),
        ("vm = 'sp1'\n[[contemplant.provers]]\nvm = 'sp1'", "contemplant.provers = [", "each vm once"),
    ],
)  # fmt: skip
def test_a_prover_that_cannot_be_is_refused(toml: str, start: str, end: str) -> None:
    problem = refused(f"[[contemplant.provers]]\n{toml}")
    assert problem.startswith(start)
    assert problem.endswith(end)


@pytest.mark.parametrize("toml", ["[contemplant]\nprovers = 'sp1'", "[contemplant.provers]\nvm = 'sp1'"])
def test_provers_that_are_not_an_array_of_tables_are_refused(toml: str) -> None:
    assert refused(toml).endswith("must be an array of tables: write [[contemplant.provers]] above each")


@pytest.mark.parametrize("character", list("'\"$`\\\n\t\x07"))
@pytest.mark.parametrize("name", ["CONTEMPLANT_NAME", "CONTEMPLANT_MOONGATE_LOG_PATH", "MOONGATE_ENDPOINT"])
def test_a_character_that_further_shells_would_read_is_refused(name: str, character: str) -> None:
    assert "two more shells would read it" in refused(**{name: f"a{character}b", "CONTEMPLANT_VMS": "sp1"})


def test_ssh_keys_are_lines_in_the_file_and_escapes_in_the_environment() -> None:
    one, two = "ssh-ed25519 AAAAC3Nz alice", "no-pty ssh-rsa AAAAB3Nz bob@desk"
    from_file = loaded(
        f'[contemplant]\nssh_authorized_keys = """\n{one}\n\n# of the night shift\n{two}\n"""'
    ).settings.contemplant
    from_variable = loaded(CONTEMPLANT_SSH_AUTHORIZED_KEYS=f'"{one}\\n{two}"').settings.contemplant
    assert from_file.ssh_authorized_keys == from_variable.ssh_authorized_keys == f"{one}\n{two}"


def test_the_provers_of_a_scriptory_set_up_are_exported_under_the_names_that_workers_know() -> None:
    exports = loaded(
        CONTEMPLANT_VMS="sp1,risc0,openvm",
        CONTEMPLANT_SP1_BACKEND="cuda",
        CONTEMPLANT_RISC0_BACKEND="cuda",
        CONTEMPLANT_RISC0_GROTH16="true",
        CONTEMPLANT_OPENVM_BACKEND="cuda",
        CONTEMPLANT_OPENVM_EVM="true",
    ).settings.contemplant.exports()
    assert {name: value for name, value in exports.items() if name.startswith("CONTEMPLANT_")} == {
        "CONTEMPLANT_VMS": "sp1,risc0,openvm",
        "CONTEMPLANT_SP1_BACKEND": "cuda",
        "CONTEMPLANT_RISC0_BACKEND": "cuda",
        "CONTEMPLANT_RISC0_GROTH16": "true",
        "CONTEMPLANT_OPENVM_BACKEND": "cuda",
        "CONTEMPLANT_OPENVM_EVM": "true",
    }


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "secret",
    [
        f"{PRIVATE}\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "b3BlbnNzaC1rZXktdjEAAAAA",
        "/home/alice/.ssh/id_ed25519",
        "ssh-ed25519 AAAAC3Nz alice\nhunter2",
    ],
)
def test_what_is_no_public_key_is_refused_and_never_shown(secret: str) -> None:
    said = refused(f'[contemplant]\nssh_authorized_keys = """\n{secret}\n"""')
    assert "must be public SSH keys, one a line" in said
    assert not any(line in said for line in secret.splitlines())


def test_an_onstart_template_without_a_place_for_exports_is_refused() -> None:
    assert refused("[contemplant]\nonstart_template = 'sh /x'").endswith(
        "must contain {exports}, where the worker's settings go"
    )
