"""Every request passes the guard first; on a lab server each message of a connection does."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from make_lab_server import AUTH, LAB, SECRET, written
from mammo_core.workflows.http_guard import Door, HttpGuard
from mammo_core.workflows.lab_server import read_lab_server
from mammo_core.workflows.server import HERE_NAMES, inline_scripts, server_settings, signed_in_claims

HOST = (b"host", b"localhost:8501")
OURS = (b"origin", b"http://localhost:8501")
LAB_HOST = (b"host", b"mammo.lab.example")
LAB_ORIGIN = (b"origin", b"https://mammo.lab.example")


class App:
    """An application that says what reached it and answers everything."""

    def __init__(self):
        self.scopes = []
        self.messages = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            return
        if scope["type"] == "http":
            cookies = [(b"set-cookie", b"a=1; HttpOnly"), (b"X-Frame-Options", b"ALLOWALL")]
            await send({"type": "http.response.start", "status": 200, "headers": cookies})
            await send({"type": "http.response.body", "body": b"film"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.messages.append(message["bytes"])
            await send({"type": "websocket.send", "bytes": b"answer"})
        self.messages.append("closed")


def drive(guard, kind, path="/", headers=(HOST,), messages=()):
    """Send one request through the guard; returns what came back. A message that is callable is called instead of sent."""
    sent, waiting = [], list(messages)

    async def receive():
        while waiting and callable(waiting[0]):
            waiting.pop(0)()
        return waiting.pop(0) if waiting else {"type": f"{kind}.disconnect", "code": 1000}

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "path": path, "headers": list(headers), "subprotocols": ["streamlit", "token", "old"], "method": "GET"}
    asyncio.run(guard(scope, receive, send))
    return sent


def desktop():
    return HttpGuard(App(), Door(hosts=frozenset(HERE_NAMES), inline_scripts=("'sha256-x'",)))


@pytest.mark.parametrize("path", ["/", "/history", "/_stcore/health", "/media/x.png"])
def test_our_own_pages_pass_with_headers_that_no_answer_can_weaken(path):
    start, body = drive(desktop(), "http", path)
    headers = dict(start["headers"])
    assert (start["status"], body["body"]) == (200, b"film")
    assert headers[b"x-frame-options"] == b"DENY" and b"X-Frame-Options" not in headers
    assert b"script-src 'self' blob: 'sha256-x';" in headers[b"content-security-policy"]
    assert b"connect-src 'self' ws://localhost:8501;" in headers[b"content-security-policy"]
    assert headers[b"set-cookie"] == b"a=1; HttpOnly" and b"strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 421),
        (((b"host", b"evil.example"),), 421),
        ((HOST, HOST), 421),
        (((b"host", b"localhost:x"),), 421),
        (((b"host", b"evil@localhost"),), 421),
        (((b"host", b"localhost/x"),), 421),
        ((HOST, (b"origin", b"http://evil.example")), 403),
        ((HOST, (b"origin", b"null")), 403),
        ((HOST, (b"origin", b"http://localhost:9999")), 403),
    ],
)
def test_other_names_and_other_sites_reach_nothing(headers, status):
    guard = desktop()
    assert drive(guard, "http", headers=headers)[0]["status"] == status
    assert drive(guard, "websocket", headers=headers, messages=[{"type": "websocket.connect"}])[-1]["type"] == "websocket.close"
    assert guard.app.scopes == []


def test_a_socket_without_an_origin_is_no_page_of_ours():
    guard = desktop()
    assert drive(guard, "websocket", messages=[{"type": "websocket.connect"}])[-1] == {"type": "websocket.close", "code": 1008}
    assert (
        drive(guard, "websocket", headers=(HOST, OURS), messages=[{"type": "websocket.connect"}])[0]["type"] == "websocket.accept"
    )


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/agent/interact", "/_stcore/script-health-check"])
def test_doors_for_programs_are_shut(path):
    guard = desktop()
    assert drive(guard, "http", path)[0]["status"] == 404 and guard.app.scopes == []


def test_the_start_and_end_of_the_server_pass():
    guard = desktop()
    drive(guard, "lifespan")
    assert [scope["type"] for scope in guard.app.scopes] == ["lifespan"]


# ---- a lab server ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    path = written(tmp_path, AUTH + LAB)

    def claims(cookies):
        who = cookies.get("_streamlit_user")
        if not who:
            return {}
        return {"is_logged_in": True, "email": who, "email_verified": True, "iat": int(time.time()) - 60, "iss": "i", "sub": who}

    door = Door(
        hosts=frozenset({"mammo.lab.example"}),
        origin="https://mammo.lab.example",
        lab=lambda: read_lab_server(path),
        claims=claims,
    )
    return HttpGuard(App(), door), path


def cookie(who, more=""):
    return (b"cookie", f"{more}_streamlit_user={who}; _streamlit_user_tokens=t; other=1".encode())


PROTOCOL = (b"sec-websocket-protocol", b"streamlit, token, old")


def socket(guard, *headers, messages=()):
    start = {"type": "websocket.connect"}
    return drive(guard, "websocket", headers=(LAB_HOST, LAB_ORIGIN, PROTOCOL, *headers), messages=[start, *messages])


def data(text):
    return {"type": "websocket.receive", "bytes": text}


@pytest.mark.parametrize("path", ["/media/film.png", "/_stcore/upload_file/a/b"])
def test_films_and_uploads_are_only_for_people_on_the_list(lab, path):
    guard, _ = lab
    assert drive(guard, "http", path, (LAB_HOST,))[0]["status"] == 403
    assert drive(guard, "http", path, (LAB_HOST, cookie("eve@evil.example")))[0]["status"] == 403
    start = drive(guard, "http", path, (LAB_HOST, cookie("anna@lab.example")))[0]
    assert start["status"] == 200
    assert (dict(start["headers"]).get(b"cache-control") == b"no-store") == path.startswith("/media/")


def test_behind_tls_cookies_are_sent_over_tls_only(lab):
    headers = dict(drive(lab[0], "http", "/", (LAB_HOST,))[0]["headers"])
    assert headers[b"set-cookie"].endswith(b"; Secure") and b"strict-transport-security" in headers
    assert b"connect-src 'self' wss://mammo.lab.example" in headers[b"content-security-policy"]


def test_who_is_not_in_gets_a_session_of_their_own(lab):
    guard, _ = lab
    socket(guard, cookie("eve@evil.example"))
    headers = dict(guard.app.scopes[-1]["headers"])
    assert headers[b"sec-websocket-protocol"] == b"streamlit, token"
    assert b"_streamlit_user=eve" in headers[b"cookie"], "so that the page can say who was turned away"
    socket(guard, cookie("anna@lab.example"))
    assert dict(guard.app.scopes[-1]["headers"])[b"sec-websocket-protocol"] == b"streamlit, token, old"


def test_a_connection_ends_with_the_first_message_after_the_name_went_off_the_list(lab):
    guard, path = lab
    off = path.read_text().replace("Anna@Lab", "Bea@Lab")
    sent = socket(guard, cookie("anna@lab.example"), messages=[data(b"1"), lambda: path.write_text(off), data(b"2"), data(b"3")])
    assert guard.app.messages == [b"1", "closed"]
    assert sent[-1] == {"type": "websocket.close", "code": 1008}


def test_settings_that_cannot_be_read_let_nobody_go_on(lab):
    guard, path = lab
    socket(guard, cookie("anna@lab.example"), messages=[data(b"1"), path.unlink, data(b"2")])
    assert guard.app.messages == [b"1", "closed"]
    assert drive(guard, "http", "/media/x", (LAB_HOST, cookie("anna@lab.example")))[0]["status"] == 403


def test_who_comes_onto_the_list_later_is_watched_as_well(lab):
    guard, path = lab
    text = path.read_text()
    changes = [
        lambda: path.write_text(text),
        data(b"1"),
        lambda: path.write_text(text.replace("Anna@Lab", "Bea@Lab")),
        data(b"2"),
    ]
    path.write_text(text.replace("Anna@Lab", "Bea@Lab"))
    socket(guard, cookie("anna@lab.example"), messages=changes)
    assert guard.app.messages == [b"1", "closed"]


def test_after_signing_out_a_copy_of_the_cookie_is_worth_nothing(lab):
    guard, _ = lab
    anna = cookie("anna@lab.example", "x=1; ")

    def sign_out():  # another request, while the connection stands
        request = threading.Thread(target=drive, args=(guard, "http", "/auth/logout", (LAB_HOST, anna)))
        request.start()
        request.join()

    socket(guard, anna, messages=[data(b"1"), sign_out, data(b"2")])
    assert guard.app.messages == [b"1", "closed"], "the other tab is out too"
    socket(guard, anna)
    headers = dict(guard.app.scopes[-1]["headers"])
    assert b"_streamlit_user" not in headers[b"cookie"] and b"other=1" in headers[b"cookie"]
    assert drive(guard, "http", "/media/x", (LAB_HOST, anna))[0]["status"] == 403
    assert drive(guard, "http", "/media/x", (LAB_HOST, cookie("bea@clinic.example")))[0]["status"] == 200


def test_only_the_address_that_people_type_is_its_origin(lab):
    guard, _ = lab
    for origin in (b"http://mammo.lab.example", b"https://mammo.lab.example:444", b"https://lab.example"):
        sent = drive(guard, "websocket", headers=(LAB_HOST, (b"origin", origin)), messages=[{"type": "websocket.connect"}])
        assert sent[-1]["type"] == "websocket.close" and guard.app.scopes == []


# ---- what Streamlit is told -------------------------------------------------------------------------------------------------


def test_streamlits_settings_hold_whatever_else_is_configured_on_the_machine(tmp_path, monkeypatch):
    for name in ("SERVER_ADDRESS", "SERVER_ENABLE_XSRF_PROTECTION", "SERVER_TRUSTED_USER_HEADERS"):
        monkeypatch.setenv(f"STREAMLIT_{name}", {"SERVER_ADDRESS": "0.0.0.0"}.get(name, ""))
    settings = server_settings(8501, None)
    assert settings["server.address"] == "127.0.0.1" and settings["server.allowedHosts"] == ["localhost", "127.0.0.1"]
    assert settings["server.trustedUserHeaders"] == {} and settings["secrets.files"] == []
    from streamlit import config

    assert not set(settings) - set(config._config_options_template)


def test_a_cookie_is_believed_only_with_our_signature_and_our_origin(monkeypatch):
    import json

    from streamlit.web.server.starlette import starlette_app_utils, starlette_websocket

    monkeypatch.setattr(starlette_websocket, "get_cookie_secret", lambda: SECRET)
    origin, name = "https://mammo.lab.example", "_streamlit_user"
    value = json.dumps({"origin": origin, "is_logged_in": True, "email": "anna@lab.example"})
    signed = starlette_app_utils.create_signed_value(SECRET, name, value).decode()
    assert signed_in_claims({name: signed}, origin)["email"] == "anna@lab.example"
    assert signed_in_claims({name: signed}, "https://other.example") == {}
    assert signed_in_claims({name: signed[:-1] + ("a" if signed[-1] != "a" else "b")}, origin) == {}
    assert signed_in_claims({name: value}, origin) == {} and signed_in_claims({}, origin) == {}


def test_streamlits_own_page_has_scripts_whose_hash_the_policy_names():
    assert all(word.startswith("'sha256-") and word.endswith("='") for word in inline_scripts()) and inline_scripts()
