"""Pure: why rented instances may not reach an address that the operator set."""

import ipaddress
import re


def malformed(host: str) -> str:
    """Say why `host` can be no address at all; "" = it can be one."""
    if re.fullmatch(r"[0-9.]+", host) is None:
        return ""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return "is no IPv4 address: that has four numbers from 0 to 255, such as 203.0.113.7"
    return ""


def unreachable(host: str) -> str:
    """Say why an instance somewhere in the world cannot reach `host`; "" = nothing speaks against it."""
    bare = host.strip("[]")
    if why := malformed(bare):
        return why
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        local = bare == "localhost" or bare.endswith((".local", ".internal", ".localhost"))
        return "is a name of this machine or network only" if local or "." not in bare else ""
    if address.is_loopback or address.is_unspecified:
        return "is this machine's own address, which every box takes for itself"
    return "" if address.is_global else "is a private address"


def unencrypted(url: str, http_port: int) -> str:
    """Say that `url` asks for HTTPS on the port where Magister answers plain HTTP; "" = it does not."""
    host = url.removeprefix("https://").removesuffix(f":{http_port}")
    if url != f"https://{host}:{http_port}":
        return ""
    return (
        f"makes workers speak HTTPS to port {http_port}, where Magister answers plain HTTP: "
        f"name the port of the proxy that has the certificate, such as https://{host}:443"
    )
