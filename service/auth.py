"""Who may ask: a key whose hash the settings hold. Without keys the service listens on loopback only."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.problems import Refusal
from service.state import state_of

BEARER = HTTPBearer(auto_error=False, description="The key whose SHA-256 is in RECONTOUR_API_KEY_SHA256")


def require_key(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
    """Refusal 'unauthorized' unless a known key came, or none is needed."""
    accepted = state_of(request).settings.api_key_sha256
    if not accepted:
        return
    given = hashlib.sha256((credentials.credentials if credentials else "").encode()).hexdigest()
    # Every key is compared, so that the time does not tell which one was close.
    if sum(hmac.compare_digest(given, known) for known in accepted) == 0:
        raise Refusal("unauthorized", "no key or a wrong one.", headers={"WWW-Authenticate": "Bearer"})
