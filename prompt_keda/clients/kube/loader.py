"""The `kubernetes` package's reader of kubeconfigs, with logins read as kubectl reads them.

Source: k8s.io/client-go v0.35.4, tools/clientcmd/client_config.go, transport/token_source.go.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

from prompt_keda.clients.http.header_text import NotSendable, sendable
from prompt_keda.clients.kube.errors import SYSTEM
from prompt_keda.clients.kube.expiry import claims_of, moment
from prompt_keda.clients.kube.oidc import IdToken, KubeconfigUser
from prompt_keda.core.errors import LoggedOut


def make_loader(merged: Any, context: str | None, timeout: timedelta, where: str) -> Any:
    """Make the package's loader. Its way to an issuer, which verifies nothing, and its reading of tokens are not taken.

    It raises `LoggedOut` when there is no login that can be sent, and what the package raises.

    Parameters
    ----------
    merged
        The package's ``KubeConfigMerger``: what it has read.
    timeout
        For a refresh at an issuer.
    where
        What the kubeconfig is called in messages.
    """
    from kubernetes.config import kube_config

    package: Any = kube_config

    class Loader(package.KubeConfigLoader):  # type: ignore[misc]  # the package is imported at its first use
        id_token: IdToken | None = None

        def _load_auth_provider_token(self) -> str | None:
            provider = self._user.value.get("auth-provider")
            if provider is None:
                return None
            name = provider.get("name")
            if name == "gcp":
                token: str | None = super()._load_auth_provider_token()
                return token
            if name != "oidc":
                fix = "Log in by an exec plugin: kubectl needs one too, since 1.26."
                raise LoggedOut(SYSTEM, where, f"its auth-provider {str(name)[:40]!r} is not supported", fix)
            if self.id_token is None:
                place = KubeconfigUser(Path(self._user.path), self._current_context["context"]["user"])
                self.id_token = IdToken(place, provider.get("config") or {}, timeout)
            living = self.id_token.token()
            self.token, self.expiry = f"Bearer {living}", moment((claims_of(living) or {}).get("exp"))
            return self.token

        def _load_user_token(self) -> bool | None:
            """Read the token as kubectl does: a file comes before a token, which counts where the file cannot be read."""
            content, file = self._user.value.get("token"), self._user.value.get("tokenFile")
            if file:
                try:
                    path = Path(self._get_base_path(self._user.path), file)
                    content = path.read_text(errors="surrogateescape") or " "
                except OSError:
                    if not content:
                        raise
            if not content:
                return None
            self.token = f"Bearer {content}"
            return True

        def _load_user_pass_token(self) -> bool | None:
            user = self._user.value
            if "username" not in user or "password" not in user:
                return None
            pair = f"{user['username']}:{user['password']}"
            self.token = f"Basic {base64.b64encode(pair.encode()).decode()}"
            return True

        def _set_config(self, configuration: Any) -> None:
            """Hand over the login, in a form that can be sent."""
            if "token" in self.__dict__:
                kind, _, token = self.token.partition(" ")
                try:
                    self.token = f"{kind} {sendable(token)}"
                except NotSendable as error:
                    raise LoggedOut(SYSTEM, where, f"the kubeconfig's {error}", "Log in again.") from error
            super()._set_config(configuration)

    return Loader(
        config_dict=merged.config, active_context=context, config_base_path=None, config_persister=merged.save_changes
    )
