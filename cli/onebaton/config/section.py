"""What all sections of the configuration are, and how a secret is named in one."""

from typing import Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onebaton.fields import FilePath, ParameterName, SecretName


class Section(BaseModel):
    """Base of all parts: strict, frozen, no unknown keys; errors never hold what was typed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


def sections_in(annotation: object) -> tuple[type[Section], ...]:
    """Sections that a field of this type may hold: itself, one of several, in a list."""
    kinds = (annotation, *get_args(annotation))
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))


def kind_of(section: type[Section]) -> str:
    """What ``kind`` says in a section that is one of several."""
    (kind,) = get_args(section.model_fields["kind"].annotation)
    return str(kind)


class SecretSource(Section):
    """Where a secret comes from: exactly one of a file, an environment variable, a command, AWS.

    Its first line is the secret.
    """

    file: FilePath | None = Field(default=None, description="File that holds the secret.")
    env: str | None = Field(
        default=None, min_length=1, description="Environment variable that holds the secret."
    )
    command: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        description="Program and its arguments, run without a shell, that prints the secret.",
    )

    ssm: ParameterName | None = Field(
        default=None,
        description="Name or ARN of a parameter in AWS SSM's Parameter Store; it is decrypted.",
    )
    secretsmanager: SecretName | None = Field(
        default=None,
        description="Name or ARN of a secret in AWS Secrets Manager, with #KEY behind it where the "
        "secret is a JSON object.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = type(self).model_fields
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give exactly one of {', '.join(names)}")
        return self
