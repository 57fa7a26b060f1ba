"""What Magister tells the worker in a rented box, and under which names it is exported there."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from magister.settings.types import Allowed, Counted, Env, Exported, Group, Many, Port, SshKeys, Unshown

EXPORTS = "{exports}"
VMS_VARIABLE = "CONTEMPLANT_VMS"
BACKEND_VARIABLES = {
    "sp1": "CONTEMPLANT_SP1_BACKEND",
    "risc0": "CONTEMPLANT_RISC0_BACKEND",
    "openvm": "CONTEMPLANT_OPENVM_BACKEND",
}
GROTH16_VARIABLE = "CONTEMPLANT_RISC0_GROTH16"
EVM_VARIABLE = "CONTEMPLANT_OPENVM_EVM"
PROVER_VARIABLES = (VMS_VARIABLE, *BACKEND_VARIABLES.values(), GROTH16_VARIABLE, EVM_VARIABLE)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Vm = Annotated[Literal["sp1", "risc0", "openvm"], BeforeValidator(_lower), Allowed("sp1, risc0 or openvm")]
Backend = Annotated[Literal["cpu", "cuda"], BeforeValidator(_lower), Allowed("cpu or cuda")]


class Prover(Group):
    """Describe one prover of the worker."""

    vm: Vm = Field(
        description="Virtual machine whose proofs are made: sp1, risc0 or openvm.", examples=["sp1"]
    )
    backend: Backend = Field(default="cpu", description="Where the proofs are computed: cpu or cuda.")
    moongate_endpoint: Exported | None = Field(
        default=None,
        description="Moongate server of the worker (sp1 only); unset = the worker starts its own.",
        examples=["http://localhost:3000/twirp/"],
    )
    groth16_enabled: Annotated[bool | None, Allowed("true or false")] = Field(
        default=None, description="Whether Groth16 proofs are offered (risc0 only).", examples=[True]
    )
    evm_enabled: Annotated[bool | None, Allowed("true or false")] = Field(
        default=None, description="Whether EVM proofs are offered (openvm only).", examples=[True]
    )

    @field_validator("moongate_endpoint")
    @classmethod
    def _for_sp1(cls, value: str | None, known: ValidationInfo) -> str | None:
        """Refuse Moongate for another machine than SP1."""
        if value is not None and known.data.get("vm") in {"risc0", "openvm"}:
            raise ValueError("must be left out: Moongate serves sp1 only")
        return value

    @field_validator("groth16_enabled")
    @classmethod
    def _for_risc0(cls, value: bool | None, known: ValidationInfo) -> bool | None:
        """Refuse the Groth16 switch for another machine than RISC Zero."""
        if value is not None and known.data.get("vm") in {"sp1", "openvm"}:
            raise ValueError("must be left out: it is for risc0 only")
        return value

    @field_validator("evm_enabled")
    @classmethod
    def _for_openvm(cls, value: bool | None, known: ValidationInfo) -> bool | None:
        """Refuse the EVM switch for another machine than OpenVM."""
        if value is not None and known.data.get("vm") in {"sp1", "risc0"}:
            raise ValueError("must be left out: it is for openvm only")
        return value


class Contemplant(Group):
    """Describe the worker; what is None is not exported, so the template decides."""

    contemplant_name: Annotated[Exported | None, Env(("CONTEMPLANT_NAME",))] = Field(
        default=None, description="Name all workers go by; unset = each picks its own.", examples=["paulos"]
    )
    http_port: Port = Field(default=9011, description="Port of the worker's own health check in its box.")
    heartbeat_interval_seconds: Counted = Field(
        default=30, description="How often the worker tells Hierophant that it lives, whole seconds."
    )
    max_proofs_stored: Counted = Field(default=2, description="Finished proofs the worker keeps in memory.")
    moongate_log_path: Exported = Field(
        default="./moongate.log", description="Log the worker reads its progress from, a path in the box."
    )
    watcher_polling_interval_ms: Counted = Field(
        default=2000, description="How often the worker reads that log, milliseconds."
    )
    ssh_authorized_keys: Annotated[SshKeys | None, Unshown()] = Field(
        default=None,
        description="Public SSH keys let into the boxes, one a line (in the environment: \\n between them).",
        examples=["ssh-ed25519 AAAAC3Nz alice\nssh-ed25519 AAAAC3Nz bob"],
    )
    prover_type: Backend | None = Field(
        default=None,
        description="Older form of one sp1 prover: cpu or cuda; used when no prover is set.",
        examples=["cuda"],
    )
    moongate_endpoint: Annotated[
        Exported | None, Env(("CONTEMPLANT_MOONGATE_ENDPOINT", "MOONGATE_ENDPOINT"))
    ] = Field(
        default=None,
        description="Moongate server for an sp1 prover that names none.",
        examples=["http://localhost:3000/twirp/"],
    )
    beat_secs: Many = Field(
        default=60,
        description="How often its box tells Magister that the worker lives, whole seconds; 0 = never.",
    )
    onstart_template: str | None = Field(
        default=None,
        description="Text to start the worker with instead of the built-in one; must contain {exports}.",
        examples=["su worker -c '{exports}; /opt/start.sh'"],
    )
    provers: Annotated[
        tuple[Prover, ...],
        Env(PROVER_VARIABLES),
        Allowed("an array of tables: write [[contemplant.provers]] above each"),
    ] = Field(
        default=(),
        description="Provers of the worker, each vm at most once; the file wins over the environment here.",
    )

    @field_validator("provers")
    @classmethod
    def _once_each(cls, value: tuple[Prover, ...]) -> tuple[Prover, ...]:
        """Refuse two provers for one machine: the worker's variables hold one of each."""
        if len({prover.vm for prover in value}) < len(value):
            raise ValueError("must name each vm once")
        return value

    @field_validator("onstart_template")
    @classmethod
    def _takes_exports(cls, value: str | None) -> str | None:
        """Refuse a text that would start a worker without its settings."""
        if value is not None and EXPORTS not in value:
            raise ValueError(f"must contain {EXPORTS}, where the worker's settings go")
        if value is not None and "\0" in value:
            raise ValueError("must not contain a NUL character")
        return value

    @property
    def provers_used(self) -> tuple[Prover, ...]:
        """Return the provers set, else the one that prover_type stands for; empty = the template decides."""
        if self.provers or self.prover_type is None:
            return self.provers
        return (Prover(vm="sp1", backend=self.prover_type),)

    def exports(self) -> dict[str, str]:
        """Return the worker's variables in the order of their export."""
        named = {
            "CONTEMPLANT_NAME": self.contemplant_name,
            "HTTP_PORT": str(self.http_port),
            "HEARTBEAT_INTERVAL_SECONDS": str(self.heartbeat_interval_seconds),
            "MAX_PROOFS_STORED": str(self.max_proofs_stored),
            "MOONGATE_LOG_PATH": self.moongate_log_path,
            "WATCHER_POLLING_INTERVAL_MS": str(self.watcher_polling_interval_ms),
            "SSH_AUTHORIZED_KEYS": self.ssh_authorized_keys,
            "PROVER_TYPE": self.prover_type,
        }
        return {name: value for name, value in named.items() if value is not None} | self._prover_exports()

    def _prover_exports(self) -> dict[str, str]:
        used = self.provers_used
        if not used:
            return {}
        found = {VMS_VARIABLE: ",".join(prover.vm for prover in used)}
        for prover in used:
            found[BACKEND_VARIABLES[prover.vm]] = prover.backend
            if prover.groth16_enabled is not None:
                found[GROTH16_VARIABLE] = str(prover.groth16_enabled).lower()
            if prover.evm_enabled is not None:
                found[EVM_VARIABLE] = str(prover.evm_enabled).lower()
            if prover.vm == "sp1" and (endpoint := prover.moongate_endpoint or self.moongate_endpoint):
                found["MOONGATE_ENDPOINT"] = endpoint
        return found
