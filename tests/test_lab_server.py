from __future__ import annotations

import json
import os
import sys

import pytest

from command_line import one_line, run_command
from make_lab_server import AUTH, LAB, SECRET, written
from mammo_core.errors import ConfigError
from mammo_core.settings import open_workspace
from mammo_core.workflows import lab_server
from mammo_core.workflows.lab_server import (
    LAB_VARIABLE,
    current_lab_server,
    email_of,
    note_access,
    read_lab_server,
    require_sign_in_packages,
)

NOW = 1_000_000.0


def lab(tmp_path, more=""):
    return read_lab_server(written(tmp_path, AUTH + LAB + more))


def claims(**changes):
    signed_in = {"is_logged_in": True, "email": "anna@lab.example", "email_verified": True, "iat": NOW - 60, "sub": "1"}
    return {**signed_in, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"email": "ANNA@lab.example"},
        {"email": "bea@clinic.example"},
        {"email_verified": "true"},
        {"iat": NOW - 9 * 3600},
        {"iat": NOW + 200},
    ],
)
def test_who_is_on_the_list_and_signed_in_lately_may_come_in(tmp_path, changes):
    assert lab(tmp_path).refusal(claims(**changes), NOW) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_logged_in": False}, lab_server.NOT_SIGNED_IN),
        ({"is_logged_in": "true"}, lab_server.NOT_SIGNED_IN),
        ({"iat": NOW - 11 * 3600}, lab_server.EXPIRED),
        ({"iat": NOW + 3600}, lab_server.EXPIRED),
        ({"iat": None}, lab_server.EXPIRED),
        ({"iat": True}, lab_server.EXPIRED),
        ({"iat": float("nan")}, lab_server.EXPIRED),
        ({"email": None}, lab_server.NO_EMAIL),
        ({"email": "anna"}, lab_server.NO_EMAIL),
        ({"email": ["anna@lab.example"]}, lab_server.NO_EMAIL),
        ({"email": "\u212aurt@clinic.example"}, lab_server.NO_EMAIL),  # the Kelvin sign, which lower() makes a k
        ({"email": "anna@lab.example\n@clinic.example"}, lab_server.NO_EMAIL),
        ({"email_verified": False}, lab_server.NOT_VERIFIED),
        ({"email_verified": None}, lab_server.NOT_VERIFIED),
        ({"email_verified": 1}, lab_server.NOT_VERIFIED),
        ({"email": "bea@lab.example"}, lab_server.NOT_LISTED),
        ({"email": "anna@lab.example.evil.example"}, lab_server.NOT_LISTED),
        ({"email": "anna@notclinic.example"}, lab_server.NOT_LISTED),
        ({"email": "anna@evil.clinic.example"}, lab_server.NOT_LISTED),
        ({"email": "clinic.example@evil.example"}, lab_server.NOT_LISTED),
    ],
)
def test_anybody_else_is_turned_away_with_the_reason(tmp_path, changes, words):
    assert lab(tmp_path).refusal(claims(**changes), NOW) == words


def test_no_claims_at_all_let_nobody_in(tmp_path):
    assert lab(tmp_path).refusal({}, NOW) == lab_server.NOT_SIGNED_IN


@pytest.mark.parametrize(
    ("groups", "may"),
    [(["readers", "x"], True), ("readers", True), (["x"], False), (None, False), ("reader", False), ({"readers": 1}, False)],
)
def test_a_group_narrows_the_list(tmp_path, groups, may):
    server = lab(tmp_path, 'required_groups = ["readers"]\ngroups_claim = "roles"\n')
    assert (server.refusal(claims(roles=groups), NOW) is None) == may
    assert server.refusal(claims(roles=["readers"], email="eve@evil.example"), NOW) == lab_server.NOT_LISTED


def test_a_provider_that_never_says_verified_can_be_trusted_on_purpose(tmp_path):
    server = lab(tmp_path, "email_always_verified = true\n")
    assert server.refusal(claims(email_verified=None), NOW) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs the sections"),
        (AUTH, "needs the sections"),
        (LAB, "needs the sections"),
        ("[auth", "no TOML"),
        (AUTH.replace("https://mammo", "http://mammo") + LAB, "redirect_uri"),
        (AUTH.replace("/oauth2callback", "/") + LAB, "redirect_uri"),
        (AUTH.replace("https://mammo.lab.example", "https://a@mammo.lab.example") + LAB, "redirect_uri"),
        (AUTH.replace(SECRET, "short") + LAB, "cookie_secret"),
        (AUTH.replace(SECRET, "x" * 64) + LAB, "cookie_secret"),
        (AUTH.replace('client_id = "mammotrace"', "") + LAB, "client_id"),
        (AUTH.replace('"s"', '" "') + LAB, "client_secret"),
        (AUTH.replace("https://login", "http://login") + LAB, "server_metadata_url"),
        (AUTH + LAB.replace('"mammo.lab.example"', '"other.example"'), "hosts must name mammo.lab.example"),
        (AUTH + LAB.replace('["mammo.lab.example"]', "[]"), "hosts"),
        (AUTH + '[lab_server]\nhosts = ["mammo.lab.example"]\n', "lets nobody in"),
        (AUTH + LAB.replace('"clinic.example"', '"@clinic.example"'), "is no address or domain"),
        (AUTH + LAB.replace('"clinic.example"', '"*"'), "is no address or domain"),
        (AUTH + LAB.replace('"clinic.example"', '"example"'), "is no address or domain"),
        (AUTH + LAB.replace('"Anna@Lab.example"', '"Anna"'), "is no address or domain"),
        (AUTH + LAB + "session_hours = 1000\n", "session_hours"),
        (AUTH + LAB + 'alowed_domains = ["x.example"]\n', "alowed_domains"),
        (AUTH + "[auth.my_idp]\nclient_id='a'\nclient_secret='b'\nserver_metadata_url='https://x.example'\n" + LAB, "underscore"),
    ],
)
def test_half_a_setting_starts_nothing(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")) as told:
        read_lab_server(written(tmp_path, text))
    assert str(tmp_path) not in str(told.value) and SECRET not in str(told.value)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_other_accounts_may_read_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match="chmod 600"):
        read_lab_server(written(tmp_path, AUTH + LAB, mode))


def test_several_providers_are_offered_by_their_names(tmp_path):
    first, rest = AUTH.split('client_id = "mammotrace"')
    named = f'{first}[auth.clinic]\nclient_id = "mammotrace"{rest}'
    assert read_lab_server(written(tmp_path, named + LAB)).providers == ("clinic",)
    assert lab(tmp_path).providers == (None,)


def test_a_name_that_is_taken_off_the_list_is_out_without_a_restart(tmp_path, monkeypatch):
    path = written(tmp_path, AUTH + LAB)
    monkeypatch.setenv(LAB_VARIABLE, str(path))
    assert current_lab_server().refusal(claims(), NOW) is None
    path.write_text(AUTH + LAB.replace("Anna", "Bea"))
    assert current_lab_server().refusal(claims(), NOW) == lab_server.NOT_LISTED
    path.write_text("broken")
    with pytest.raises(ConfigError):
        current_lab_server()
    path.unlink()
    with pytest.raises(ConfigError):
        current_lab_server()


def test_the_access_log_is_for_its_owner_only_and_one_line_an_event(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    note_access(workspace, "signed in", claims(email="Anna@lab.example\n{}"))
    note_access(workspace, "turned away", claims())
    path = workspace.home / lab_server.ACCESS_LOG
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["email"]) for line in lines] == [("signed in", ""), ("turned away", "anna@lab.example")]
    assert os.name != "posix" or path.stat().st_mode & 0o077 == 0


def test_an_address_is_compared_letter_by_letter():
    assert email_of({"email": " Anna@Lab.Example "}) == "anna@lab.example"
    assert email_of({"email": "anna@"}) is None and email_of({}) is None


def test_the_app_does_not_start_on_a_file_that_others_may_read(tmp_path):
    path = written(tmp_path, AUTH + LAB, 0o644)
    done = run_command(tmp_path, "app", "--no-browser", "--lab-server", str(path))
    assert done.returncode == 2 and "chmod 600" in one_line(done.stderr)


def test_missing_packages_are_named_with_what_to_do(monkeypatch):
    require_sign_in_packages()
    monkeypatch.setitem(sys.modules, "authlib", None)
    with pytest.raises(ConfigError, match="pip install -r requirements-lab.txt"):
        require_sign_in_packages()
