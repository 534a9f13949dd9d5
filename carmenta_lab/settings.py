"""What the environment says (`CARMENTA_*`), read into a frozen value."""

import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from carmenta_lab import resources
from carmenta_lab.errors import UsageError


def default_home() -> Path:
    """`.carmenta` in the clone; for an installed wheel, or a clone one cannot write, the user's data folder."""
    root = resources.clone()
    if root is not None and os.access(root, os.W_OK):
        return root / ".carmenta"
    return platformdirs.user_data_path("carmenta")


class Settings(BaseSettings):
    """The environment of this process; every field is read from `CARMENTA_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="CARMENTA_", frozen=True, extra="ignore")

    home: Path | None = None  # where the embedded server keeps its data; see `home_folder`
    database: str = "carmenta"  # the database on the embedded server
    database_url: SecretStr | None = None  # any PostgreSQL instead of the embedded one
    direct_url: SecretStr | None = None  # the same database past its pooler: migrations and loads
    pool_mode: Literal["auto", "session", "transaction"] = "auto"
    llm_url: str | None = None  # base address of an OpenAI-compatible API that shortens older messages
    llm_model: str = ""  # the model to ask there
    llm_key: SecretStr | None = None  # sent as bearer token

    @property
    def home_folder(self) -> Path:
        """Absolute folder of everything this program stores on this machine."""
        return (self.home.expanduser() if self.home else default_home()).absolute()


def read_settings() -> Settings:
    """Read the environment; UsageError names the variable that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"CARMENTA_{'_'.join(str(part) for part in first['loc']).upper()}"
        raise UsageError(f"{name}: {first['msg']}.") from None
