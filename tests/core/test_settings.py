"""Settings: where they come from, what is refused, and that nothing secret is shown."""

import os
import stat
from pathlib import Path

import pytest

from cardflow.environment import Environment
from cardflow.errors import Refused
from cardflow.secret_files import DEMO_MARKER, forget_secret, read_secret, write_secret
from cardflow.settings import Settings, load_settings, setting_name


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(setting_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


def production(state: Path, **changes: object) -> str:
    """Write a settings file fit for production, but for ``changes``."""
    values: dict[str, object] = {
        "environment": "production",
        "public_url": "https://cards.example",
        "database_url": "postgresql+psycopg://cardflow@db/cardflow?passfile=/run/secrets/db",
        "smtp_host": "relay.example",
        "smtp_starttls": True,
    } | changes
    lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
    state.mkdir(exist_ok=True)
    (state / "cardflow.toml").write_text("\n".join(lines))
    return "\n".join(lines)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | int) else f'"{value}"'


def test_defaults_keep_everything_under_var(tmp_path: Path) -> None:
    settings = load_settings()

    assert settings.state_dir == tmp_path / "var"
    assert settings.codec_key_file == tmp_path / "var/secrets/codec.json"
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/var/cardflow.db"


def test_the_environment_beats_the_file_and_the_file_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cardflow.toml").write_text('organisation = "From file"\napi_port = 8001\n')
    monkeypatch.setenv("CARDFLOW_API_PORT", "8002")

    settings = load_settings(tmp_path)

    assert (settings.organisation, settings.api_port) == ("From file", 8002)


def test_the_state_directory_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cardflow.toml").write_text('organisation = "Elsewhere"')
    monkeypatch.setenv("CARDFLOW_STATE_DIR", str(tmp_path))

    assert load_settings().organisation == "Elsewhere"


def test_absolute_paths_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "cardflow.toml").write_text('codec_key_file = "/run/secrets/codec"')

    assert load_settings(tmp_path).codec_key_file == Path("/run/secrets/codec")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api_port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_wrong_values_are_refused_all_at_once_without_showing_them(tmp_path: Path) -> None:
    lines = ['api_port = "hunter2"', "session_idle_hours = 0", "colour = 1"]
    (tmp_path / "cardflow.toml").write_text("\n".join(lines))

    with pytest.raises(Refused) as refusal:
        load_settings(tmp_path)

    names = {line.split(":")[0] for line in refusal.value.objections}
    assert names == {"CARDFLOW_API_PORT", "CARDFLOW_SESSION_IDLE_HOURS", "CARDFLOW_COLOUR"}
    assert "hunter2" not in str(refusal.value)


def test_a_settings_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cardflow.toml").write_text("organisation = Unquoted")

    with pytest.raises(Refused, match=r"cardflow\.toml"):
        load_settings(tmp_path)


def test_production_starts_when_nothing_is_wrong(tmp_path: Path) -> None:
    production(tmp_path)
    write_secret(tmp_path / "secrets/codec.json", b"{}")

    assert load_settings(tmp_path).environment is Environment.PRODUCTION


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"public_url": "http://localhost:8000"}, "CARDFLOW_PUBLIC_URL: it is plain HTTP"),
        ({"temporal_ui_url": "http://localhost:8233"}, "TEMPORAL_UI_URL: .* travels in clear"),
        ({"codec_key_file": "nowhere"}, "CARDFLOW_CODEC_KEY_FILE: .*nowhere is missing"),
        ({"database_url": "postgresql+psycopg://c:hunter2@db/c"}, "DATABASE_URL: it holds a pass"),
        ({"smtp_host": "mail.example", "smtp_starttls": False}, "SMTP_STARTTLS: .* in clear"),
        ({"smtp_host": "127.0.0.1"}, "SMTP_HOST: it is this machine itself; .* 127.0.0.1:1025 in"),
        ({"clamd_address": "localhost:3310"}, "CLAMD_ADDRESS: it is this machine itself"),
        ({"clamd_address": "[::1]:3310"}, "CLAMD_ADDRESS: it is this machine itself"),
        ({"tsa_url": "http://169.254.169.254/"}, "TSA_URL: it is link-local"),
        ({"job_key_file": "try/job-key.pem"}, "JOB_KEY_FILE: .* made for trying out"),
        ({"ca_dir": "try"}, "CARDFLOW_CA_DIR: .* made for trying out"),
        ({"pinentry": "try/pinentry"}, "CARDFLOW_PINENTRY: .* made for trying out"),
    ],
)
def test_production_refuses(tmp_path: Path, changes: dict[str, object], objection: str) -> None:
    write_secret(tmp_path / "secrets/codec.json", b"{}")
    (tmp_path / "try").mkdir()
    (tmp_path / "try" / DEMO_MARKER).touch()
    if "pinentry" in changes:
        changes = {"pinentry": tmp_path / str(changes["pinentry"])}
    production(tmp_path, **changes)

    with pytest.raises(Refused, match=objection) as refusal:
        load_settings(tmp_path)

    assert len(refusal.value.objections) == 1
    assert "hunter2" not in str(refusal.value)


def test_a_service_on_this_machine_may_be_named(tmp_path: Path) -> None:
    named = {
        "smtp_host": "127.0.0.1",
        "smtp_port": 25,
        "local_services": "127.0.0.1:25, [::1]:3310",
    }
    production(tmp_path, **named, clamd_address="[::1]:3310")
    write_secret(tmp_path / "secrets/codec.json", b"{}")

    assert load_settings(tmp_path).smtp_host == "127.0.0.1"


def test_production_names_everything_that_is_wrong_at_once(tmp_path: Path) -> None:
    production(tmp_path, public_url="http://localhost", smtp_host="mail", smtp_starttls=False)

    with pytest.raises(Refused) as refusal:
        load_settings(tmp_path)

    assert len(refusal.value.objections) == 3


def test_only_the_demo_knows_temporals_pages_by_itself(tmp_path: Path) -> None:
    demo = Settings(state_dir=tmp_path, temporal_ui_port=9999)
    unset = Settings(state_dir=tmp_path, environment=Environment.PRODUCTION, temporal_ui_url="")

    assert demo.temporal_ui_url == "http://localhost:9999"
    assert unset.temporal_ui_url is None


def test_sqlite_in_production_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    production(tmp_path, database_url="")
    write_secret(tmp_path / "secrets/codec.json", b"{}")

    load_settings(tmp_path)

    assert "SQLite serves one machine only" in caplog.text


def test_plain_http_beyond_this_machine_is_refused_everywhere(tmp_path: Path) -> None:
    (tmp_path / "cardflow.toml").write_text('public_url = "http://cards.example"')

    with pytest.raises(Refused, match="plain HTTP to another machine"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("line", "objection"),
    [
        (
            'document_bucket_url = "http://s3.example"',
            "BUCKET_URL: documents would travel in clear",
        ),
        ('document_bucket = "papers"', "BUCKET_SECRET_FILE: a bucket is named and no secret"),
    ],
)
def test_a_bucket_is_reached_in_private_and_by_name(
    tmp_path: Path, line: str, objection: str
) -> None:
    (tmp_path / "cardflow.toml").write_text(line)

    with pytest.raises(Refused, match=objection):
        load_settings(tmp_path)


def test_the_demo_does_not_listen_to_the_network(tmp_path: Path) -> None:
    (tmp_path / "cardflow.toml").write_text('api_host = "0.0.0.0"')

    with pytest.raises(Refused, match="CARDFLOW_API_HOST: the demo listens on this machine only"):
        load_settings(tmp_path)


def test_a_secret_open_to_others_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "secrets/codec.json", b"secret")
    (tmp_path / "secrets/codec.json").chmod(0o640)

    with pytest.raises(Refused, match=r"CODEC_KEY_FILE: .* open to other accounts; run: chmod 600"):
        load_settings(tmp_path)
    with pytest.raises(Refused, match="open to other accounts"):
        read_secret(tmp_path / "secrets/codec.json")


def test_a_missing_or_empty_secret_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "empty", b"")

    with pytest.raises(Refused, match="is empty"):
        read_secret(tmp_path / "empty")
    with pytest.raises(Refused, match="is missing"):
        read_secret(tmp_path / "nowhere")


def test_a_secret_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        read_secret(tmp_path)


def test_writing_a_secret_never_replaces_one(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"first")

    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "key", b"second")
    assert read_secret(tmp_path / "key") == b"first"


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_secret_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A process that is killed leaves what a call leaves that never returns."""
    monkeypatch.setattr(os, call, lambda *_: pytest.exit("killed"))
    monkeypatch.setattr(Path, "unlink", lambda *_: None)

    with pytest.raises(pytest.exit.Exception):
        write_secret(tmp_path / "key", b"first")
    monkeypatch.undo()

    assert not (tmp_path / "key").exists()
    write_secret(tmp_path / "key", b"second")
    assert read_secret(tmp_path / "key") == b"second"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    forget_secret(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_nothing_secret_is_printed(tmp_path: Path) -> None:
    (tmp_path / "cardflow.toml").write_text('database_url = "postgresql+psycopg://c:hunter2@db/c"')

    settings = load_settings(tmp_path)

    assert "hunter2" not in f"{settings!r} {settings}"


WAYS_IN = [
    ({"local_accounts": False}, "LOCAL_ACCOUNTS: nobody could sign in"),
    ({"oidc_issuer": "https://login.example"}, "OIDC_CLIENT_ID: it is missing"),
    ({"oidc_issuer": "http://login.example"}, "OIDC_ISSUER: it is plain HTTP"),
    ({"oidc_roles_claim": "groups"}, "OIDC_ROLES: nobody would have a role"),
    ({"card_sign_in": "proxy"}, "PROXY_ADDRESSES: no proxy may pass certificates on"),
    (
        {"card_sign_in": "proxy", "proxy_addresses": "*"},
        "PROXY_ADDRESSES: anybody could pass certificates on",
    ),
    ({"card_sign_in": "direct"}, "CARD_SIGN_IN_URL: it is missing"),
    ({"card_sign_in": "direct"}, "CARD_KEY_FILE"),
]


@pytest.mark.parametrize(("changes", "objection"), WAYS_IN)
def test_a_way_to_sign_in_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, changes: dict[str, object], objection: str
) -> None:
    production(tmp_path / "var", **changes)

    with pytest.raises(Refused) as refusal:
        load_settings()

    assert any(objection in reason for reason in refusal.value.objections)


def test_a_table_gives_the_roles_of_each_group(tmp_path: Path) -> None:
    file = tmp_path / "var" / "cardflow.toml"
    file.parent.mkdir()
    file.write_text('[oidc_roles]\n"card-desk" = ["operator", "auditor"]\n')

    assert load_settings().oidc_roles == {"card-desk": ["operator", "auditor"]}


def test_a_role_that_there_is_not_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "var" / "cardflow.toml"
    file.parent.mkdir()
    file.write_text('[oidc_roles]\nall = ["emperor"]\n')

    with pytest.raises(Refused):
        load_settings()
