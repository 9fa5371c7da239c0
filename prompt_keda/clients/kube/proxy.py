"""The proxy before an API server or an issuer: the kubeconfig's `proxy-url`, else the environment's, as kubectl takes them.

Source: k8s.io/client-go v0.35.4, tools/clientcmd (`proxy-url` comes first, and NO_PROXY does not hold for it);
golang.org/x/net/http/httpproxy (an address without a scheme speaks HTTP; a login in it is sent to the proxy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from prompt_keda.clients.http.failures import proxy_variable
from prompt_keda.core.errors import BadAnswer, Unreachable

IN_KUBECONFIG = "proxy-url in the kubeconfig"
NOT_CONNECTED = re.compile(r"(?:Tunnel connection failed: |failed CONNECT via proxy status: )(\d{3})")
"""What http.client and websocket-client say when a proxy answers, and does not connect."""
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """A proxy, and where it is set. Its login is shown nowhere.

    Parameters
    ----------
    scheme
        ``http`` or ``https``: how the proxy itself is spoken to.
    place
        The variable's name, or `IN_KUBECONFIG`.
    login
        Name and password, not quoted; None: it wants none.
    """

    scheme: str
    host: str
    port: int
    place: str
    login: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"{self.address} ({self.place})"

    @property
    def address(self) -> str:
        """Its address, without its login."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def fix(self) -> str:
        """What to do when it fails."""
        if self.place == IN_KUBECONFIG:
            return f"Correct {self.place}, or take it out."
        return f"Correct {self.place}, or unset it; NO_PROXY names hosts that are reached without a proxy."


def name_proxy(error: Unreachable, cause: Exception, is_proxys: bool, proxy: Proxy | None) -> Unreachable:
    """Return an error that names the proxy: as what failed, or as the way that was taken.

    Parameters
    ----------
    cause
        What the library raised.
    is_proxys
        Whether it was the proxy that could not be reached.
    proxy
        None: there is none, and the error stays as it is.
    """
    if proxy is None:
        return error
    refusal = NOT_CONNECTED.search(str(cause))
    if not is_proxys and refusal is None:
        return Unreachable(error.system, error.endpoint, f"{error.detail}, through the proxy {proxy!r}", error.fix)
    detail = f"it answers HTTP {refusal[1]}" if refusal else error.detail
    return Unreachable(error.system, error.endpoint, f"its proxy {proxy!r}: {detail}", proxy.fix)


def use_proxy(configuration: Any, proxy_url: Any, system: str) -> None:
    """Set the proxy of the package's ``Configuration``, and its attribute ``named_proxy``: a `Proxy`, or None.

    Parameters
    ----------
    proxy_url
        The kubeconfig's; None or empty: the environment's.
    system
        For the messages.

    Raises
    ------
    BadAnswer
        When it is a SOCKS proxy, which needs a library that is missing, or makes no sense; without its address.
    """
    from kubernetes.client.rest import should_bypass_proxies
    from urllib3.util import make_headers, parse_url

    text, place = (proxy_url, IN_KUBECONFIG) if proxy_url else _of_environment(configuration.host)
    no_proxy = "" if proxy_url else getproxies().get("no", "")
    configuration.no_proxy = ""
    configuration.named_proxy = configuration.proxy = configuration.proxy_headers = None
    if not text or should_bypass_proxies(configuration.host, no_proxy):
        return
    try:
        proxy = _proxy(text, place)
        if proxy:
            parse_url(proxy.address)
    except (ValueError, TypeError, AttributeError) as error:
        detail = f"its proxy ({place}) makes no sense"
        raise BadAnswer(system, configuration.host, detail, f"Correct {place}: http://HOST:PORT.") from error
    if proxy is None:
        detail = f"a SOCKS proxy ({place}) is not supported"
        raise BadAnswer(system, configuration.host, detail, f"Name a proxy of HTTP in {place}: http://HOST:PORT.")
    configuration.named_proxy, configuration.proxy = proxy, proxy.address
    if proxy.login:
        pair = ":".join(proxy.login).encode().decode("latin-1")  # kubectl sends UTF-8, urllib3 Latin-1
        configuration.proxy_headers = make_headers(proxy_basic_auth=pair)


def websocket_options(proxy: Proxy | None) -> dict[str, Any]:
    """Return what makes the library of websockets take a proxy, or none; left to itself it would read the environment."""
    if proxy is None:
        return {"http_proxy_host": "none", "http_no_proxy": ["*"]}
    none = ["none.invalid"]  # an empty list would be read from the environment
    return {
        "http_proxy_host": proxy.host,
        "http_proxy_port": proxy.port,
        "http_proxy_auth": proxy.login,
        "http_no_proxy": none,
    }


def _of_environment(url: str) -> tuple[str, str]:
    proxies = getproxies()
    text = proxies.get(urlsplit(url).scheme.lower()) or proxies.get("all") or ""
    place = proxy_variable() or "the environment's proxy"
    return text if "://" in text or not text else f"http://{text}", place


def _proxy(text: str, place: str) -> Proxy | None:
    """Read an address; None for a SOCKS proxy. Raises `ValueError` when it makes no sense."""
    parts = urlsplit(text)
    if parts.scheme.startswith("socks"):
        return None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("no address of a proxy")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Proxy(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], place, login)
