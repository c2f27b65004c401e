"""How far several trainings are, as their files say, in one line."""

from collections.abc import Sequence

from engine.run.console import Progress, TimeLeft, progress
from engine.run.training.executor import Executor, Job, outcome
from engine.run.training.folder import TRAINING


def train_all(jobs: Sequence[Job], executor: Executor, resume: bool) -> bool:
    """Run trainings with one line of progress; return whether a person stopped them."""
    if not jobs:
        return False
    with progress("training", total_of(jobs)) as show:
        return executor.run(jobs, JobProgress(jobs, show).tick, resume)


class JobProgress:
    """Updates done by all trainings; those that have ended count whole, and are not read again."""

    def __init__(self, jobs: Sequence[Job], show: Progress) -> None:
        self.jobs, self.open, self.show = jobs, list(jobs), show
        self.total = total_of(jobs)
        self.left = TimeLeft()

    def tick(self) -> None:
        """Show how far the trainings are."""
        from agents.monitor import METRICS, read_rows

        begun = [job for job in self.open if (job.folder / TRAINING / METRICS).is_file()]
        self.open = [job for job in self.open if job not in begun or not outcome(job)]
        ended = len(self.jobs) - len(self.open)
        running = [len(read_rows(j.folder / TRAINING / METRICS)) for j in begun if j in self.open]
        done = self.total - total_of(self.open) + sum(running)
        words = (f"updates, {ended} of {len(self.jobs)} trainings", self.left.of(done, self.total))
        self.show(done, ", ".join(word for word in words if word))


def total_of(jobs: Sequence[Job]) -> int:
    """Return the updates of all trainings together."""
    return sum(job.settings.train.updates for job in jobs)
