"""Sets the assistant up from a checkout: ``make chat``, ``make test`` and ``make lock`` call it."""
