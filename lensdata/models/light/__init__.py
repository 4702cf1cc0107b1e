"""The light tier: small models that registry packages carry inside themselves, and how its two heads are trained."""
