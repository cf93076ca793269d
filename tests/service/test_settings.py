"""Settings: what is allowed, and what the service refuses to start with."""

from dataclasses import fields

import pytest
from pydantic import ValidationError

from imaging.dicom.limits import ReadLimits
from service.settings import Settings, UploadLimits
from tests.service.helpers import KEY, KEY_SHA256


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_key(host: str):
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "node-7"])
def test_another_address_needs_a_key_or_an_explicit_insecure(host: str):
    with pytest.raises(ValidationError, match="beyond loopback"):
        Settings(host=host)
    assert Settings(host=host, insecure=True).insecure
    assert Settings(host=host, api_key_sha256=(KEY_SHA256,)).api_key_sha256 == (KEY_SHA256,)


def test_a_key_in_clear_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RECONTOUR_API_KEY_SHA256", KEY)
    with pytest.raises(ValidationError) as caught:
        Settings.from_environment()
    assert KEY not in str(caught.value)


def test_the_environment_sets_also_keys_and_single_limits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RECONTOUR_API_KEY_SHA256", f"{KEY_SHA256}, {'0' * 64}")
    monkeypatch.setenv("RECONTOUR_LIMITS__PARTS", "7")
    monkeypatch.setenv("RECONTOUR_QUEUE_LENGTH", "3")
    settings = Settings.from_environment(port=9000)
    assert settings.api_key_sha256 == (KEY_SHA256, "0" * 64)
    assert (settings.limits.parts, settings.queue_length, settings.port) == (7, 3, 9000)


@pytest.mark.parametrize("name", ["RECONTOUR_QUEUE_LENGHT", "RECONTOUR_LIMIT__PARTS"])
def test_a_misspelt_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "3")
    with pytest.raises(ValueError, match=name):
        Settings.from_environment()


def test_a_misspelt_limit_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RECONTOUR_LIMITS__PART", "3")
    with pytest.raises(ValidationError):
        Settings.from_environment()


@pytest.mark.parametrize("model", ["../secret", "a/b", "/etc", "A", "prostate-ct/1"])
def test_a_model_name_is_no_path(model: str):
    with pytest.raises(ValidationError):
        Settings(model=model)


def test_settings_cannot_be_changed_and_unknown_ones_are_refused():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Settings(colour="red")  # type: ignore[call-arg]


def test_the_limits_of_the_readers_are_all_settable_and_by_default_the_same():
    assert UploadLimits().for_reading() == ReadLimits()
    assert {bound.name for bound in fields(ReadLimits)} <= set(UploadLimits.model_fields)
