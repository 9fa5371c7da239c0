"""The exec plugin of the stack's kubeconfig: name and password of a person → a token for the API server.

Called by kubectl and the toolkit as ``python login.py --config FILE``, a copy beside the kubeconfig; standard library only,
because it runs before each first request. It says in one line which link of the chain person → login → LDAP → token is broken.
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path


def log_in(config: dict[str, str]) -> dict[str, object]:
    """Ask the login server, and return an ExecCredential (client.authentication.k8s.io/v1).

    Parameters
    ----------
    config
        ``url``, ``ca_file``, ``person`` and ``password_file``.

    Raises
    ------
    SystemExit
        With one line for the person, when it does not give a token.
    """
    try:
        password = Path(config["password_file"]).read_text()
    except OSError as error:
        raise SystemExit(f"login: no password in {config['password_file']}: {error.strerror}") from error
    basic = base64.b64encode(f"{config['person']}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310  the address is the stack's own, https
        f"{config['url']}/token", data=b"", headers={"Authorization": f"Basic {basic}"}, method="POST"
    )
    context = ssl.create_default_context(cafile=config["ca_file"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=8) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        reason = json.load(error).get("error", "no reason given")
        raise SystemExit(f"login: {config['person']} gets no token ({error.code}): {reason}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = str(getattr(error, "reason", error))
        raise SystemExit(f"login: the login server at {config['url']} does not answer: {reason}") from error
    ends = datetime.fromtimestamp(document["expires_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": document["token"], "expirationTimestamp": ends},
    }


def main() -> None:
    """Print the ExecCredential."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text())
    sys.stdout.write(json.dumps(log_in(config)))


if __name__ == "__main__":
    main()
