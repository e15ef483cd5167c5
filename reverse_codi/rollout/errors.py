"""What goes wrong between a trainer and its rollout actors."""

from __future__ import annotations

from reverse_codi.errors import UserError


class RolloutError(UserError):
    """A rollout request cannot be answered."""


class StalePolicyError(RolloutError):
    """The actors hold another policy version than the requested one."""


class PolicyFilesError(RolloutError):
    """The files of a policy are not those that the trainer wrote."""


class RolloutDataError(RolloutError):
    """The request is invalid; a second try would fail too."""


class RolloutInfrastructureError(RolloutError):
    """Actors died too often, or cannot start; the request may be valid."""


class RolloutTimeoutError(RolloutInfrastructureError):
    """Actors did not return in time."""
