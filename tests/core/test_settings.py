from pathlib import Path

import pytest

from core.errors import UsageError
from core.settings import Settings, settings


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    monkeypatch.setattr("core.settings.settings", settings)
    return monkeypatch


@pytest.fixture(autouse=True)
def forget() -> object:
    yield
    settings.cache_clear()


def test_elasticsearch_is_named_as_its_own_tools_name_it(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("ELASTICSEARCH_URL", "https://es:9200")
    fresh.setenv("ELASTICSEARCH_PASSWORD", "hunter2")
    made = settings()
    assert made.url == "https://es:9200"
    assert made.password is not None
    assert "hunter2" not in repr(made)


def test_a_dotenv_file_counts_less_than_the_environment(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ELASTICSEARCH_URL=http://from-file:9200\nFACEDEX_NODE_PORT=9234\n")
    assert settings().url == "http://from-file:9200"
    settings.cache_clear()
    fresh.setenv("ELASTICSEARCH_URL", "http://from-environment:9200")
    assert settings().url == "http://from-environment:9200"
    assert settings().node_port == 9234


def test_an_empty_variable_is_as_good_as_none(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("ELASTICSEARCH_URL", "")
    assert settings().url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("FACEDEX_NODE_PORT", "many"), ("FACEDEX_NODE_HEAP", "lots"), ("FACEDEX_MAX_PIXELS", "-1")),
        *(("FACEDEX_WEB_SECONDS", "inf"), ("FACEDEX_WEB_SECONDS", "1e10"), ("FACEDEX_WEB_SECONDS", "nan")),
    ],
)
def test_a_wrong_value_is_named(fresh: pytest.MonkeyPatch, name: str, value: str) -> None:
    fresh.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        settings()


def test_folders_are_the_users_own() -> None:
    made = Settings.model_fields
    assert made["cache_dir"].default_factory is not None
    assert made["data_dir"].default_factory is not None


@pytest.mark.parametrize("name", ["ELASTICSEARCH_PASSWORD", "ELASTICSEARCH_API_KEY"])
def test_secrets_come_from_files(fresh: pytest.MonkeyPatch, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "secret"
    fresh.setenv(f"{name}_FILE", str(file))
    with pytest.raises(UsageError, match=f"{name}_FILE.*can't be read"):
        settings()
    file.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        settings()
    file.write_text("hunter2\n")
    file.chmod(0o600)
    made = settings()
    secret = made.password if name.endswith("PASSWORD") else made.api_key
    assert secret is not None
    assert secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(made)
    assert capsys.readouterr().err == ""
    settings.cache_clear()
    file.chmod(0o644)
    settings()
    assert "chmod 600" in capsys.readouterr().err
    settings.cache_clear()
    fresh.setenv(name, "another")
    with pytest.raises(UsageError, match="not both"):
        settings()
