"""What a worker's log says about its model."""

from drservice.supervisor.programs import worker_refusal

REFUSED = "12:00:01 ERROR inference.serving model_not_ready reason=The weights differ.\n"
READY = "12:00:05 INFO inference.serving model_ready model_version=m-2 backend=openvino\n"


def test_a_refusal_counts_until_a_model_is_ready(tmp_path):
    log = tmp_path / "worker.log"
    log.write_text("")
    assert worker_refusal(log) == ""
    log.write_text(REFUSED)
    assert worker_refusal(log) == "The weights differ."
    log.write_text(REFUSED + READY)
    assert worker_refusal(log) == ""
    log.write_text(REFUSED + READY + REFUSED.replace("differ", "are missing"))
    assert worker_refusal(log) == "The weights are missing."
