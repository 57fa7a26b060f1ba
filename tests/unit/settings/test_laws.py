"""Whatever stands in the environment, loading either works or says so, and no secret gets out."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from hypothesis import given, settings
from hypothesis import strategies as st

from magister.errors import BadSettings
from magister.onstart import script
from magister.settings.describe import toml
from magister.settings.model import described, effective, load

REQUIRED = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "hierophant.example",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "4",
}
NOWHERE = Path(gettempdir()) / "no" / "such" / ".env"
NAMES = sorted({name for row in described() for name in row.env})
SECRETS = sorted({name for row in described() if row.secret for name in row.env})
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["1", "0", "-1", "nan", "inf", "1e400", "sp1", "risc0", "cuda", "true", "abc", "9" * 5000]
    ),
    st.sampled_from(["http://a", "http://[", "http://a:99999", "[::1]", "a,b", "1,2", "{exports}", "'", '"']),
)


TABLES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text("ab' ,{", max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["vm", "backend", "gpu_ram", "a"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.dictionaries(st.sampled_from(SECRETS), st.sampled_from(["", " x", "://a:", "sqlite://", "\n", "@"])),
)
def test_any_environment_loads_or_is_refused_without_telling_a_secret(
    noise: dict[str, str], secrets: dict[str, str]
) -> None:
    environ = REQUIRED | noise | {name: f"{rest}s3cr3t{rest}" for name, rest in secrets.items()}
    try:
        read = load(None, environ, dotenv=NOWHERE)
    except BadSettings as error:
        said = repr(error)
    else:
        # the shown database URL is left out: here the marker may be the file's name rather than a password
        shown = [row for row in effective(read) if row.name != "database_url"]
        said = repr((read, script.problems(read.settings), shown))
    assert "s3cr3t" not in said


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from([row.name for row in described()] + ["pace", "nonsense"]), TABLES))
def test_any_file_loads_or_is_refused(values: dict[str, object]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "magister.toml"
        # a value in the way of a table makes this no TOML, which has to be said like anything else
        path.write_text("\n".join(f"{name} = {toml(value)}" for name, value in sorted(values.items())))
        with suppress(BadSettings):
            load(path, REQUIRED, dotenv=NOWHERE)
