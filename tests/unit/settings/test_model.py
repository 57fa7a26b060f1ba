"""Where settings come from, which win, and what is said when they will not do."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from magister.errors import BadSettings
from magister.settings.model import Loaded, Settings, described, effective, load

REQUIRED = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "hierophant.example",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "4",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def loaded(toml: str = "", dotenv: str = "", without: str = "", **environ: str) -> Loaded:
    """Load in the current directory, the required settings being given but for `without`."""
    if toml:
        Path("magister.toml").write_text(toml, encoding="utf-8")
    if dotenv:
        Path(".env").write_text(dotenv, encoding="utf-8")
    given = {name: value for name, value in REQUIRED.items() if name != without}
    return load(None, given | environ)


def refused(toml: str = "", dotenv: str = "", without: str = "", **environ: str) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as caught:
        loaded(toml, dotenv, without, **environ)
    return caught.value.problems


def test_the_required_settings_are_enough() -> None:
    settings = loaded().settings
    assert (settings.http_port, settings.vast_api_call_backoff_secs) == (8555, 10)
    assert (settings.task_polling_interval_secs, settings.contemplant_verification_timeout_secs) == (30, 180)
    assert settings.vast_api_url == "https://console.vast.ai"
    assert settings.database_url.get_secret_value() == "sqlite:///magister.db"
    assert settings.instance_label == "magister"
    assert settings.api_token is None
    assert settings.bad_hosts == frozenset()


def test_without_anything_each_required_setting_is_asked_for_once() -> None:
    with pytest.raises(BadSettings) as caught:
        load(None, {})
    assert caught.value.problems == (
        "this_magister_addr is required: set this_magister_addr in magister.toml"
        " or THIS_MAGISTER_ADDR in the environment",
        "hierophant_ip is required: set hierophant_ip in magister.toml or HIEROPHANT_IP in the environment",
        "hierophant_http_port is required: set hierophant_http_port in magister.toml"
        " or HIEROPHANT_HTTP_PORT in the environment",
        "vast_api_key is required: set vast_api_key in magister.toml or VAST_API_KEY in the environment",
        "template_hash is required: set template_hash in magister.toml"
        " or TEMPLATE_HASH or VAST_TEMPLATE_HASH in the environment",
        "number_instances is required: set number_instances in magister.toml"
        " or NUMBER_INSTANCES in the environment",
    )


def test_the_environment_wins_over_dotenv_over_the_file_over_the_default() -> None:
    toml = "http_port = 1001\n[pace]\ncreate_secs = 1\nlist_secs = 1.5\nshow_secs = 1.25\n"
    read = loaded(toml, "PACE_CREATE_SECS=2\nPACE_LIST_SECS=2.5\n", PACE_CREATE_SECS="3")
    pace = read.settings.pace
    assert (pace.create_secs, pace.list_secs, pace.show_secs, pace.search_secs) == (3, 2.5, 1.25, 6)
    assert read.origins["pace.create_secs"] == "environment PACE_CREATE_SECS"
    assert read.origins["pace.list_secs"] == ".env PACE_LIST_SECS"
    assert read.origins["pace.show_secs"] == "magister.toml"
    assert read.origins["pace.search_secs"] == "default"
    assert read.settings.http_port == 1001


def test_the_origins_name_every_setting() -> None:
    plain = {row.name for row in described() if row.group != "contemplant.provers"}
    assert set(loaded().origins) == plain


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    assert load(None).settings.number_instances == 4


def test_settings_made_directly_read_nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "1")
    values = {name.lower(): value for name, value in REQUIRED.items()}
    assert Settings.model_validate(values) == loaded().settings


def test_settings_are_frozen_and_survive_pickling() -> None:
    settings = loaded().settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.http_port = 1


def test_a_variable_that_nobody_knows_is_ignored() -> None:
    assert loaded(PACE_NONSENSE="1", PATH="/bin", MAGISTER_X="y").settings == loaded().settings


@pytest.mark.parametrize("blank", ["", "  ", '""', "''", '" "'])
def test_an_empty_value_counts_as_unset(blank: str) -> None:
    assert loaded("http_port = 7000", HTTP_PORT=blank).settings.http_port == 7000
    assert loaded('instance_label = ""').settings.instance_label == "magister"


@pytest.mark.parametrize("quoted", ['"tag"', "'tag'", " tag ", "tag"])
def test_one_pair_of_surrounding_quotes_is_stripped(quoted: str) -> None:
    assert loaded(INSTANCE_LABEL=quoted).settings.instance_label == "tag"


def test_lists_are_arrays_in_the_file_and_comma_separated_in_the_environment() -> None:
    settings = loaded(
        "bad_hosts = [1, 2]\n[pace]\ndestroy_retry_secs = [1, 2.5]",
        GOOD_MACHINES="7, 8,9,",
        VAST_QUERY_GPU_NAME="RTX 4090, RTX_5090",
    ).settings
    assert sorted(settings.bad_hosts) == [1, 2]
    assert sorted(settings.good_machines) == [7, 8, 9]
    assert list(settings.pace.destroy_retry_secs) == [1, 2.5]
    assert settings.vast_query.gpu_name == ("RTX 4090", "RTX 5090")


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://magister", "http://magister:8555"),
        ("http://magister/", "http://magister:8555"),
        ("http://magister:8555", "http://magister:8555"),
        ("HTTPS://Magister.Example:443/", "https://Magister.Example:443"),
        ("http://203.0.113.7", "http://203.0.113.7:8555"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]:8555"),
    ],
)
def test_the_address_becomes_scheme_host_and_port(given: str, normal: str) -> None:
    assert loaded(THIS_MAGISTER_ADDR=given).settings.this_magister_addr == normal


def test_the_address_takes_the_port_that_is_listened_on() -> None:
    settings = loaded(HTTP_PORT="9000").settings
    assert settings.this_magister_addr == "http://magister.example:9000"
    assert (
        loaded(HTTP_PORT="9000", THIS_MAGISTER_ADDR="http://m:80").settings.this_magister_addr
        == "http://m:80"
    )


@pytest.mark.parametrize(
    "address",
    [
        *("magister", "ftp://magister", "http://", "http://m/path", "http://m?x=1", "http://u:p@m"),
        *("http://m:0", "http://m:65536", "http://m#x", "http://m n", "http://m:"),
    ],
)
def test_an_address_of_another_form_is_refused(address: str) -> None:
    (problem,) = refused(THIS_MAGISTER_ADDR=address)
    assert problem.startswith("this_magister_addr = ")
    assert problem.endswith(
        "from environment THIS_MAGISTER_ADDR: must be http(s)://host or http(s)://host:port"
    )


@pytest.mark.parametrize("address", ["http://dropbox.example", "http://a.DropZone:1"])
def test_an_address_that_the_worker_would_rewrite_is_refused(address: str) -> None:
    (problem,) = refused(THIS_MAGISTER_ADDR=address)
    assert 'must not contain "drop": the worker turns that into "verify"' in problem


def test_hierophant_is_asked_where_workers_reach_it_unless_told_otherwise() -> None:
    assert loaded().settings.hierophant.poll_secs == 0
    assert loaded().settings.hierophant_url == "http://hierophant.example:9010"
    assert loaded(HIEROPHANT_URL="https://10.0.0.8/h/").settings.hierophant_url == "https://10.0.0.8/h"


def test_the_table_of_hierophant_and_the_settings_named_like_it_do_not_meet() -> None:
    read = loaded(HIEROPHANT_POLL_SECS="60", HIEROPHANT_GRACE_SECS="900", HIEROPHANT_IP="192.0.2.9").settings
    assert (read.hierophant.poll_secs, read.hierophant.grace_secs) == (60, 900)
    assert (read.hierophant_ip, read.hierophant_http_port) == ("192.0.2.9", 9010)


def test_every_setting_has_variables_of_its_own() -> None:
    names = [name for row in described() for name in row.env]
    assert len(names) == len(set(names))


def test_hierophant_may_be_an_ipv6_address() -> None:
    settings = loaded(HIEROPHANT_IP="2001:db8::2").settings
    assert settings.hierophant_ws_address == "ws://[2001:db8::2]:9010/ws"


def test_the_template_hash_has_two_variables_and_a_difference_warns() -> None:
    assert loaded(without="TEMPLATE_HASH", VAST_TEMPLATE_HASH="abc").settings.template_hash == "abc"
    both = loaded('template_hash = "ghi"', TEMPLATE_HASH="abc", VAST_TEMPLATE_HASH="def")
    assert both.settings.template_hash == "abc"
    assert both.warnings[0] == (
        'template_hash: "abc" from environment TEMPLATE_HASH is used, though'
        ' environment VAST_TEMPLATE_HASH says "def"; magister.toml says "ghi"'
    )
    same = loaded('template_hash = "abc"', TEMPLATE_HASH="abc", VAST_TEMPLATE_HASH="abc")
    assert not [line for line in same.warnings if line.startswith("template_hash")]


@pytest.mark.parametrize(
    ("toml", "variables", "start"),
    [
        ("", {"HIEROPHANT_IP": "http://h"}, 'hierophant_ip = "http://h" from environment HIEROPHANT_IP: '),
        ("", {"NUMBER_INSTANCES": "-1"}, 'number_instances = "-1" from environment NUMBER_INSTANCES: '),
        ("", {"NUMBER_INSTANCES": "10001"}, 'number_instances = "10001" from environment'),
        ("http_port = 0", {}, "http_port = 0 from magister.toml: must be a port, 1 to 65535"),
        ("http_port = true", {}, "http_port = true from magister.toml: must be a number, not true or false"),
        ("http_port = {a = 1}", {}, "http_port = {a = 1} from magister.toml: must be a port"),
        ("bad_hosts = [1, 0]", {}, "bad_hosts = [1, 0] from magister.toml: must be a list of ids"),
        ("", {"BAD_HOSTS": "1,x,y"}, 'bad_hosts = "1,x,y" from environment BAD_HOSTS: must be a list of ids'),
        ("", {"INSTANCE_LABEL": "a:b"}, 'instance_label = "a:b" from environment INSTANCE_LABEL: must'),
        ("", {"INSTANCE_LABEL": "a" * 65}, 'instance_label = "aaa'),
        ("", {"VAST_API_URL": "console"}, 'vast_api_url = "console" from environment VAST_API_URL: '),
        ("", {"TEMPLATE_HASH": "a b"}, 'template_hash = "a b" from environment TEMPLATE_HASH: '),
        ("[pace]\ncreate_secs = -1", {}, "pace.create_secs = -1 from magister.toml: must be a number"),
        ("[pace]\ntick_secs = nan", {}, "pace.tick_secs = nan from magister.toml: must be a number"),
        ("[pace]\ntick_secs = inf", {}, "pace.tick_secs = inf from magister.toml: must be a number"),
        ("", {"PACE_TICK_SECS": "0"}, 'pace.tick_secs = "0" from environment PACE_TICK_SECS: must be'),
        ("[pace]\ndestroy_retry_secs = []", {}, "pace.destroy_retry_secs = [] from magister.toml"),
        ("[placement]\nsearch_limit = 65", {}, "placement.search_limit = 65 from magister.toml"),
        ('[web]\nbind = "a b"', {}, 'web.bind = "a b" from magister.toml: must be a host name'),
        (
            "[lease]\nrenew_secs = 15",
            {},
            "lease.renew_secs = 15 from magister.toml: must be less than half of lease.lease_secs = 30",
        ),
        (
            "",
            {"LEASE_LEASE_SECS": "20"},
            "lease.renew_secs = 10 from default: must be less than half of lease.lease_secs = 20",
        ),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_origin_and_what_is_allowed(
    toml: str, variables: dict[str, str], start: str
) -> None:
    (problem,) = refused(toml, **variables)
    assert problem.startswith(start)


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("VAST_API_KEY", "s3cret with spaces", "must be printable ASCII without spaces"),
        ("VAST_API_KEY", "s3cret\x7f", "must be printable ASCII without spaces"),
        ("API_TOKEN", "s3cret", "must be 16 or more printable ASCII characters"),
        ("API_TOKEN", "s3cret s3cret s3cret", "must be 16 or more printable ASCII characters"),
        ("DATABASE_URL", "mysql://u:s3cret@h/d", "must be sqlite:///FILE or postgresql+psycopg://"),
        ("DATABASE_URL", "postgres://u:s3cret@h:port/d", "must be sqlite:///FILE or postgresql+psycopg://"),
    ],
)
def test_a_bad_secret_is_refused_without_being_shown(name: str, value: str, end: str) -> None:
    (problem,) = refused(**{name: value})
    assert problem.startswith(f"{name.lower()} = *** from environment {name}: {end}")
    assert "s3cret" not in problem


def test_a_password_in_an_address_is_masked_in_the_problem() -> None:
    problems = refused(THIS_MAGISTER_ADDR="http://me:s3c/ret@m", VAST_API_URL="https://me:s3c ret@v")
    assert len(problems) == 2
    assert not [line for line in problems if "s3c" in line or "ret" in line]


def test_no_traceback_carries_a_secret() -> None:
    with pytest.raises(BadSettings) as caught:
        loaded(VAST_API_KEY="s3cret key")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_no_text_of_the_settings_carries_a_secret() -> None:
    read = loaded(
        VAST_API_KEY="s3cret-key",
        API_TOKEN="s3cret-token-of-magister",
        DATABASE_URL="postgres://me:s3cret@h/d",
    )
    assert "s3cret" not in repr(read) + str(read.settings) + str(effective(read)) + str(read.warnings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql+psycopg://me:pass@h:5432/d", "postgresql+psycopg://me:***@h:5432/d"),
        ("postgresql+psycopg://me:p@ss/w@h/d", "postgresql+psycopg://me:***@h/d"),
        ("postgres://me@h/d", "postgresql+psycopg://me@h/d"),
        ("postgresql://h/d?password=pass&x=1", "postgresql+psycopg://h/d?password=***&x=1"),
        ("postgresql://me@[2001:db8::1]:5432/d", "postgresql+psycopg://me@[2001:db8::1]:5432/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
        ("postgresql://me:pa?ss@h", "postgresql+psycopg://me:***@h"),
    ],
)
def test_the_database_is_shown_without_its_password(url: str, shown: str) -> None:
    read = loaded(DATABASE_URL=url)
    assert read.settings.database_url_shown == shown
    assert [row.value for row in effective(read) if row.name == "database_url"] == [f'"{shown}"']


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ("number_instance = 3", "number_instance", "number_instances"),
        ("[vast_qery]\nx = 1", "vast_qery", "vast_query"),
        ("[vast_query]\ngpu_names = 1", "vast_query.gpu_names", "vast_query.gpu_name"),
        ("cost_per_hour = 1", "cost_per_hour", "vast_query.cost_per_hour"),
        ("[vast_query]\nnumber_instances = 1", "vast_query.number_instances", "number_instances"),
        (
            "[[contemplant.provers]]\nvm = 'sp1'\nbackends = 'cpu'",
            "contemplant.provers[0].backends",
            "contemplant.provers.backend",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_name(toml: str, key: str, nearest: str) -> None:
    assert refused(toml) == (
        f"magister.toml: {key} is not a setting; the nearest known name is {nearest}",
    )  # fmt: skip


def test_a_value_where_a_table_belongs_is_refused() -> None:
    assert refused("pace = 3") == ("magister.toml: pace must be a table: write [pace]",)


def test_all_problems_are_told_in_one_go() -> None:
    problems = refused(
        "nonsense = 1\n[pace]\ntick_secs = 0", without="HIEROPHANT_IP", HTTP_PORT="x", API_TOKEN="y"
    )
    assert [line.split()[0] for line in problems] == [
        "magister.toml:",
        "http_port",
        "hierophant_ip",
        "api_token",
        "pace.tick_secs",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"a = ", "is not TOML: "),
        (b"a = 1\na = 2", "is not TOML: "),
        (b"\xff\xfe", "cannot be read: it is not UTF-8 text"),
    ],
)
def test_a_named_file_that_will_not_do_is_the_only_problem(content: bytes | None, said: str) -> None:
    path = Path("other.toml")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert problem.startswith(f"other.toml: {said}")


def test_a_folder_in_place_of_the_file_is_told_as_such() -> None:
    Path("magister.toml").mkdir()  # what a container run-time makes of a file that is not there
    assert refused() == ("magister.toml: cannot be read: Is a directory",)


def test_a_named_file_stands_in_the_problems_and_the_origins() -> None:
    Path("other.toml").write_text("http_port = 0\nnumber_instances = ''", encoding="utf-8")
    with pytest.raises(
        BadSettings, match=r"http_port = 0 from other.toml: .*\n.*number_instances in other.toml or"
    ):
        load(Path("other.toml"), {name: REQUIRED[name] for name in REQUIRED if name != "NUMBER_INSTANCES"})


def test_the_file_that_was_read_is_told() -> None:
    assert loaded().config is None
    assert loaded("http_port = 1").config == Path("magister.toml")


def test_a_named_dotenv_need_not_be_there() -> None:
    assert load(None, REQUIRED, dotenv=Path("none.env")).settings.number_instances == 4


def test_a_folder_in_place_of_the_dotenv_is_no_problem() -> None:
    Path(".env").mkdir()
    assert loaded().settings.number_instances == 4


def test_a_value_of_the_file_that_is_overruled_need_not_make_sense() -> None:
    assert loaded("template_hash = [1]\nhttp_port = {a = 1}", HTTP_PORT="1").settings.http_port == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nVAST_API_KEY secret-key\nB=2\n", 2),
        ("# a comment\n\n'secret-key=1\n", 3),
        ("A=1\nVAST_API_KEY='secret-key\nB=2\n", 2),
        ("VAST_API_KEY: secret-key\n", 1),
        ("{secret-key}\n", 1),
    ],
)
def test_a_line_of_the_dotenv_that_sets_nothing_is_told_without_its_text(text: str, line: int) -> None:
    said = refused(dotenv=text)
    assert said == (f".env:{line}: is not NAME=value, or a quote in it is not closed",)


def test_every_broken_line_of_the_dotenv_is_told() -> None:
    assert [said.split(": ")[0] for said in refused(dotenv="=1\nA=1\n- b\n")] == [".env:1", ".env:3"]


def test_what_is_allowed_in_a_dotenv_is_still_allowed() -> None:
    text = "\ufeff# all kinds\nexport NUMBER_INSTANCES=5 # five\nSOMEBODY_ELSES\n\nOTHER.name-1='a b'\n"
    assert loaded(dotenv=text, without="NUMBER_INSTANCES").settings.number_instances == 5


def test_a_dotenv_that_is_not_text_is_told() -> None:
    Path(".env").write_bytes(b"A=\xff\xfe")
    assert refused() == (".env: cannot be read: it is not UTF-8 text",)


def test_no_ceiling_on_the_price_and_no_prover_are_warned_of() -> None:
    assert [line.split()[0] for line in loaded().warnings] == [
        "vast_query.cost_per_hour",
        "contemplant.provers",
    ]
    assert loaded(VAST_QUERY_COST_PER_HOUR="0.6", CONTEMPLANT_VMS="sp1").warnings == ()


def test_a_host_both_liked_and_banned_is_warned_of() -> None:
    warnings = loaded(BAD_HOSTS="1,2", GOOD_HOSTS="2,3").warnings
    assert "bad_hosts and good_hosts both name 2: bad wins" in warnings


def test_no_two_settings_share_a_variable() -> None:
    names = [name for row in described() for name in row.env]
    assert len(names) == len(set(names))


def test_every_setting_is_described_in_one_line() -> None:
    for row in described():
        assert row.description.endswith("."), row.name
        assert "\n" not in row.description
        assert row.required or row.default or row.example or row.name == "contemplant.provers", row.name


def test_only_secrets_are_marked_as_such() -> None:
    assert [row.name for row in described() if row.secret] == ["vast_api_key", "database_url", "api_token"]
