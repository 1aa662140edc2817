"""An observer that misbehaves is named and muted; the run and the other observers go on."""

import pytest

from tide_core.observing import Observers
from tide_specs import MetricsLogged, Observer, RunFinished, RunStarted, hookimpl


class Recorder:
    def __init__(self):
        self.seen = []

    @hookimpl
    def tide_metrics_logged(self, event):
        self.seen.append(event.step)

    @hookimpl
    def tide_run_finished(self):
        self.seen.append("finished")


class Broken(Recorder):
    error: type[BaseException] = ValueError

    @hookimpl
    def tide_metrics_logged(self, event):
        self.seen.append(event.step)
        raise self.error("no space left")


class Given(Observer):
    """Returns the listener that it was given."""

    listener: object

    def open(self, directory):
        return self.listener() if isinstance(self.listener, type) else self.listener


START = RunStarted(run_id="r", directory="d", config={}, facts={}, components=[], total_steps=3)


def metrics(step):
    return MetricsLogged(step=step, total_steps=3, metrics={})


def test_a_raising_observer_is_named_muted_and_the_others_hear_on():
    broken, fine = Broken(), Recorder()
    observers = Observers(
        [Given(name="bad", listener=broken), Given(name="good", listener=fine)],
        lambda c: f"observer '{c.name}' of my_plugin",
    )
    observers.send(START)
    with pytest.warns(
        RuntimeWarning, match=r"observer 'bad' of my_plugin failed in tide_metrics_logged.*no space left"
    ):
        observers.send(metrics(1))
    observers.send(metrics(2))
    observers.send(RunFinished(status="finished", step=3))
    assert broken.seen == [1]
    assert fine.seen == [1, 2, "finished"]
    assert observers.muted == {"bad": "ValueError: no space left"}


def test_an_observer_that_cannot_open_is_muted():
    def explode():
        raise OSError("read-only")

    observers = Observers([Given(name="bad", listener=type("L", (), {"__init__": lambda self: explode()}))])
    with pytest.warns(RuntimeWarning, match="failed in open.*read-only"):
        observers.send(START)
    observers.send(metrics(1))


def test_ctrl_c_inside_an_observer_passes():
    broken = Broken()
    broken.error = KeyboardInterrupt
    observers = Observers([Given(name="bad", listener=broken)])
    observers.send(START)
    with pytest.raises(KeyboardInterrupt):
        observers.send(metrics(1))


def test_a_misspelt_hook_is_refused_with_a_suggestion():
    class Typo:
        @hookimpl
        def tide_metric_logged(self, event):
            """Never called."""

    observers = Observers([Given(name="typo", listener=Typo())])
    with pytest.warns(RuntimeWarning, match="did you mean 'tide_metrics_logged'"):
        observers.send(START)


def test_nothing_is_opened_beside_the_main_process():
    recorder = Recorder()
    observers = Observers([Given(name="r", listener=recorder)], enabled=False)
    observers.send(START)
    observers.send(metrics(1))
    assert recorder.seen == []


def test_one_observer_listed_twice_listens_twice():
    first, second = Recorder(), Recorder()
    observers = Observers([Given(name="r", listener=first), Given(name="r", listener=second)])
    observers.send(START)
    observers.send(metrics(1))
    assert first.seen == second.seen == [1]
