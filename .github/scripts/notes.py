#!/usr/bin/env python3
"""Write the notes of a release: changes, digests, how to verify, and the GPG public key.

`notes.py VERSION FOLDER` writes FOLDER/notes.md; the key is that of the secrets.
"""

import argparse
import base64
import os
from pathlib import Path

from preflight import entry
from registries import SECRETS
from trouble import Refused, end

NOTES = """\
{changes}

## Images

The same image in three registries; `latest` follows once everything below is signed and verified.

```text
{digests}
```

## Verify

Every file here has a signature beside it, made with the key below. What each command proves is told in
[verifying releases]({page}).

```sh
gh release download v{version} --repo {repository} --dir magister-{version}
.github/scripts/verify.sh magister-{version} gpg-public-key.asc   # the key, kept from an earlier release
```

<details><summary>GPG public key, in base64</summary>

```text
{key}
```

`echo "<the text above>" | base64 -d | gpg --import` imports it.

</details>
"""


def in_base64(path: Path) -> str:
    """Return the key in base64, in one line: the secret has it so, or in armour."""
    text = path.read_text()
    if "-----BEGIN PGP" in text:
        return base64.b64encode(text.encode()).decode()
    return "".join(text.split())


def main(version: str, folder: Path) -> None:
    """Write the notes; raises Refused if what they are made of is missing."""
    changes = entry(version)
    if not changes:
        raise Refused(f"CHANGELOG.md has no entry '## [{version}]'")
    repository = os.environ.get("GITHUB_REPOSITORY", "")
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    text = NOTES.format(
        changes=changes,
        digests=(folder / "image-digests.txt").read_text().strip(),
        page=f"{server}/{repository}/blob/v{version}/docs/verifying-releases.md",
        version=version,
        repository=repository,
        key=in_base64(SECRETS / "gpg_public_key"),
    )
    (folder / "notes.md").write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    try:
        main(**vars(parser.parse_args()))
    except Refused as refused:
        end(refused)
