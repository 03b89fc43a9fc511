"""The job table: requests coalesce, one round runs per project, and a lost lease allows nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from manual_clock import ManualClock

from ml_backend.core.settings import Settings
from ml_backend.storage import JobState, Lease, Store
from ml_backend.storage.database import Database
from ml_backend.storage.jobs import Jobs
from ml_backend.storage.schema import metadata

LEASE = 30.0


@pytest.fixture
def jobs(any_store: Store, clock: ManualClock) -> Jobs:
    return Jobs(any_store.database, LEASE, clock)


def claim(jobs: Jobs, owner: str = "one") -> Lease:
    lease = jobs.claim(owner)
    assert lease is not None
    return lease


def test_without_a_request_there_is_nothing_to_claim(jobs: Jobs) -> None:
    assert jobs.claim("one") is None
    assert jobs.state(5) == JobState(False, False, 0, None)


def test_many_requests_are_answered_by_one_round(jobs: Jobs) -> None:
    for _ in range(100):
        jobs.request(5)
    assert jobs.finish(claim(jobs))
    assert jobs.claim("one") is None


def test_requests_during_a_round_are_answered_by_exactly_one_more(jobs: Jobs) -> None:
    jobs.request(5)
    lease = claim(jobs)
    assert not jobs.is_event_waiting(lease)
    for _ in range(10):
        jobs.request(5)
    assert jobs.is_event_waiting(lease)
    assert jobs.state(5) == JobState(True, True, 0, "one")
    assert jobs.claim("two") is None
    assert jobs.finish(lease)
    assert jobs.state(5) == JobState(False, True, 0, None)
    assert jobs.finish(claim(jobs))
    assert jobs.claim("one") is None


def test_only_a_request_after_an_event_interrupts_a_round(jobs: Jobs) -> None:
    jobs.request(5)
    lease = claim(jobs)
    for project in (5, 6):
        jobs.request_unless_waiting(project)
    jobs.request_unless_waiting(7, 60.0)
    assert jobs.claimable() and not jobs.is_event_waiting(lease)
    jobs.request(7)
    assert jobs.is_event_waiting(lease), "of another project"
    jobs.finish(claim(jobs))
    jobs.finish(claim(jobs))
    assert not jobs.is_event_waiting(lease)
    jobs.request(5)
    assert jobs.is_event_waiting(lease), "of the same project"


def test_a_request_that_waits_for_the_end_of_a_round_is_no_event(jobs: Jobs) -> None:
    for project in (5, 6):
        jobs.request(project)
    first, second = claim(jobs), claim(jobs, "two")
    jobs.request_unless_waiting(first.project)
    jobs.finish(first)
    assert jobs.claimable() and not jobs.is_event_waiting(second)


def test_one_worker_claims_one_project_and_other_workers_claim_other_projects(jobs: Jobs) -> None:
    jobs.request(5)
    jobs.request(6)
    leases = [claim(jobs, "one"), claim(jobs, "two")]
    assert {lease.project for lease in leases} == {5, 6}
    assert jobs.claim("three") is None


def test_the_project_whose_last_lease_ended_first_is_claimed_first(jobs: Jobs, clock: ManualClock) -> None:
    for project in (5, 6):
        jobs.request(project)
    first = claim(jobs)
    clock.sleep(1)
    jobs.finish(first)
    jobs.request(first.project)
    assert claim(jobs).project != first.project


def test_another_worker_can_claim_after_a_lease_has_expired_and_the_old_lease_is_lost(
    jobs: Jobs, clock: ManualClock
) -> None:
    jobs.request(5)
    old_lease = claim(jobs, "old")
    clock.sleep(LEASE - 1)
    assert jobs.claim("new") is None
    clock.sleep(2)
    assert jobs.state(5) == JobState(False, True, 0, "old")
    new_lease = claim(jobs, "new")
    assert new_lease.token > old_lease.token
    for too_late in (jobs.renew, jobs.finish, jobs.fail, jobs.release):
        assert not too_late(old_lease)
    assert jobs.state(5) == JobState(True, False, 0, "new")
    assert jobs.finish(new_lease)


def test_an_expired_lease_is_lost_even_if_the_same_worker_claims_again(jobs: Jobs, clock: ManualClock) -> None:
    jobs.request(5)
    old_lease = claim(jobs, "one")
    clock.sleep(LEASE + 1)
    new_lease = claim(jobs, "one")
    assert not jobs.renew(old_lease)
    assert jobs.renew(new_lease)


def test_a_renewed_lease_does_not_expire(jobs: Jobs, clock: ManualClock) -> None:
    jobs.request(5)
    lease = claim(jobs, "one")
    for _ in range(5):
        clock.sleep(LEASE - 1)
        assert jobs.renew(lease)
    assert jobs.claim("two") is None
    assert jobs.finish(lease)


def test_after_a_release_another_worker_can_claim_at_once(jobs: Jobs) -> None:
    jobs.request(5)
    lease = claim(jobs, "one")
    assert jobs.release(lease)
    assert jobs.state(5) == JobState(False, True, 0, None)
    second_lease = claim(jobs, "two")
    assert second_lease.covers == lease.covers
    assert not jobs.finish(lease)


def test_pauses_after_successive_failures_grow_up_to_a_minute(jobs: Jobs, clock: ManualClock) -> None:
    jobs.request(5)
    pauses = []
    for failure in range(1, 10):
        assert jobs.fail(claim(jobs))
        assert jobs.state(5) == JobState(False, True, failure, None)
        waited = 0.0
        while jobs.claim("peek") is None:
            clock.sleep(0.5)
            waited += 0.5
        clock.sleep(LEASE + 1)  # the peeking lease expires
        pauses.append(waited)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_request_does_not_end_the_pause_after_failures_unless_it_is_a_retry(jobs: Jobs) -> None:
    jobs.request(5)
    for _ in range(3):
        jobs.fail(claim(jobs))
        jobs.request(5)
        assert jobs.claim("one") is None, "every annotation would run the failing round again"
        jobs.request(5, retry=True)
    lease = claim(jobs)
    jobs.finish(lease)
    assert jobs.state(5) == JobState(False, False, 0, None)


def test_a_project_is_claimable_while_it_waits_and_has_no_lease(jobs: Jobs, clock: ManualClock) -> None:
    assert not jobs.claimable()
    jobs.request(5)
    assert jobs.claimable()
    lease = claim(jobs)
    jobs.request(5)
    assert not jobs.claimable(), "it waits for its own round to end"
    jobs.fail(lease)
    assert not jobs.claimable(), "it pauses after the failure"
    clock.seconds += 2
    assert jobs.claimable()


def test_repeated_requests_cause_one_round_and_do_not_end_a_pause(jobs: Jobs) -> None:
    jobs.request_unless_waiting(5)
    jobs.request_unless_waiting(5)
    lease = claim(jobs)
    jobs.request_unless_waiting(5)  # what runs may have begun before whatever this asks for
    jobs.request_unless_waiting(5)
    jobs.finish(lease)
    jobs.fail(claim(jobs))
    jobs.request_unless_waiting(5)
    assert jobs.claim("one") is None
    assert jobs.state(5).failures == 1


def test_workers_with_a_recent_heartbeat_are_listed(jobs: Jobs, clock: ManualClock) -> None:
    jobs.record_heartbeat("old", 1)
    clock.sleep(40)
    jobs.record_heartbeat("new", 2)
    jobs.record_heartbeat("new", 2)
    assert jobs.workers() == ["new"]
    assert jobs.workers(within_seconds=60) == ["new", "old"]
    jobs.remove_worker("new")
    assert jobs.workers() == []


def test_many_threads_never_run_one_project_twice_at_once(any_store: Store) -> None:
    running: Counter[int] = Counter()
    rounds: Counter[int] = Counter()
    clashes: list[int] = []
    errors: list[BaseException] = []
    lock = threading.Lock()
    projects = (1, 2, 3)

    def work(name: str) -> None:
        try:
            for _ in range(60):
                any_store.jobs.request(projects[_ % 3])
                lease = any_store.jobs.claim(name)
                if lease is None:
                    continue
                with lock:
                    running[lease.project] += 1
                    rounds[lease.project] += 1
                    if running[lease.project] > 1:
                        clashes.append(lease.project)
                assert any_store.jobs.renew(lease)
                with lock:
                    running[lease.project] -= 1
                assert any_store.jobs.finish(lease)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert clashes == []
    assert set(rounds) == set(projects)
    while (lease := any_store.jobs.claim("last")) is not None:
        any_store.jobs.finish(lease)
    assert not any(any_store.jobs.state(project).waiting for project in projects)


def test_processes_never_hold_the_same_lease(any_settings: Settings) -> None:
    store = Store(any_settings)
    for project in range(1, 41):
        store.jobs.request(project)
    code = (
        "import sys\nfrom ml_backend.core.settings import Settings\nfrom ml_backend.storage import Store\n"
        "store = Store(Settings(_env_file=None))\nsys.stdin.readline()\n"
        "while (lease := store.jobs.claim(sys.argv[1])) is not None:\n"
        "    print(lease.project, lease.token, flush=True)\n"
        "store.close()"
    )
    environment = {
        **os.environ,
        "APPRENTICE_DATA_DIR": str(any_settings.data_dir),
        "APPRENTICE_STORE_URL": any_settings.store_url,
    }
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"racer {n}"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    printed = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        printed += racer.communicate(timeout=60)[0].split("\n")[:-1]
        assert racer.returncode == 0
    assert sorted(printed) == sorted(f"{project} 1" for project in range(1, 41))
    store.close()


class JobMachine(RuleBasedStateMachine):
    """Workers that claim, renew, finish, fail, release and freeze, compared with a model of who may publish."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(tick_seconds=0.0)
        self.database = Database("sqlite://")
        with self.database.begin() as connection:  # what the migrations make, without their 50 ms
            metadata.create_all(connection)
        self.jobs = Jobs(self.database, LEASE, self.clock)
        self.leases: list[Lease] = []
        self.holder: dict[int, tuple[Lease, float]] = {}
        self.unanswered: dict[int, bool] = defaultdict(bool)
        self.asked_since: dict[int, bool] = defaultdict(bool)
        self.pause: dict[int, float] = defaultdict(float)

    @rule(project=st.integers(1, 2), retry=st.booleans())
    def request(self, project: int, retry: bool) -> None:
        failing = self.jobs.state(project).failures > 0
        self.jobs.request(project, retry=retry)
        self.unanswered[project] = True
        self.asked_since[project] = True
        if retry or not failing:
            self.pause[project] = 0

    @rule(seconds=st.sampled_from([0.5, 5.0, 29.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(owner=st.sampled_from(["a", "b"]))
    def claim(self, owner: str) -> None:
        lease = self.jobs.claim(owner)
        free = {
            project
            for project in (1, 2)
            if self.unanswered[project] and not self._held(project) and self.pause[project] <= self.clock.seconds
        }
        assert (lease is not None) == bool(free)
        if lease is not None:
            assert lease.project in free
            self.leases.append(lease)
            self.holder[lease.project] = (lease, self.clock.seconds + LEASE)
            self.asked_since[lease.project] = False

    def _held(self, project: int) -> bool:
        return project in self.holder and self.holder[project][1] >= self.clock.seconds

    def _owns(self, lease: Lease) -> bool:
        # an expired lease that nobody has taken over is still good: nothing newer can have been published
        return lease.project in self.holder and self.holder[lease.project][0] is lease

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), operation=st.sampled_from(["renew", "finish", "fail", "release"]))
    def use(self, data: st.DataObject, operation: str) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        owns = self._owns(lease)
        assert getattr(self.jobs, operation)(lease) == owns
        if not owns:
            return
        if operation == "renew":
            self.holder[lease.project] = (lease, self.clock.seconds + LEASE)
            return
        del self.holder[lease.project]
        if operation == "finish":
            self.unanswered[lease.project] = self.asked_since[lease.project]
            self.pause[lease.project] = 0
        elif operation == "fail":
            self.pause[lease.project] = self.jobs_pause(lease.project)

    def jobs_pause(self, project: int) -> float:
        failures = self.jobs.state(project).failures
        return self.clock.seconds + min(2.0 ** (failures - 1), 60.0)

    @invariant()
    def the_state_is_told(self) -> None:
        if not hasattr(self, "jobs"):
            return
        for project in (1, 2):
            state = self.jobs.state(project)
            assert state.running == self._held(project)
            expected = self.asked_since[project] if state.running else self.unanswered[project]
            assert state.waiting == expected

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


TestJobMachine = JobMachine.TestCase
TestJobMachine.settings = hypothesis_settings(max_examples=40, stateful_step_count=25, deadline=None)
