"""What is allowed outside one hospital's scope, each with what makes it safe; nothing else is.

Tests compare these lists with the code, and `drservice.testing.tenant_commands` lets no other pass.
"""

# Reasons that are given to `accounts.scoping.every_hospital`.
REASONS = {
    "a worker takes a case by its id": (
        "A hint holds a case's id and nothing else. The claim is one update of that one case, and "
        "from then on the worker's scope is the hospital of the case. No request can get here."
    ),
    "reconcile due cases": (
        "The sweep looks for cases that wait too long, in all hospitals by the index of due times. "
        "It shows them to nobody, and moves each by its id. No request can get here."
    ),
    "counts for the pages of platform operators": (
        "One aggregation that answers with sums for each hospital: no field of any record leaves "
        "MongoDB. Only doors of operators lead here."
    ),
    "finds the owner of every audit chain": (
        "Whoever verifies the trail on the command line needs to know which chains there are. "
        "It reads ids of hospitals alone."
    ),
    "tells operators how long each audit chain is": (
        "It reads the number and the time of each chain's last event, and no other field of any."
    ),
}

# Models with a hospital that are no `TenantModel`.
UNSCOPED_MODELS = {
    "accounts.Membership": (
        "It says who may open a scope, so it can't need one. It is read by person at each request, "
        "and by hospital and id through `access_colleague`, which the permission table walks."
    ),
    "accounts.Invitation": (
        "Whoever accepts one is in no hospital yet. It is found by its secret, or by hospital and "
        "id through its door, which the permission table walks."
    ),
    "keys.HospitalKey": (
        "It opens what is sealed, whichever hospital's: a sealed text names the key it needs. What "
        "is sealed is in scoped documents, and nothing of a key is ever shown."
    ),
}
