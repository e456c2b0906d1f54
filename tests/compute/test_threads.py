"""The thread pool: bit-identical results for any threads, and no deadlock with forks or a busy pool."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from lossarium import losses
from lossarium.compute import threads as pool
from tests.losses.kernel_cases import threads, value_and_gradient
from tests.losses.pictures import random_pair

# Without a kernel a loss is made of torch's operations, which sum in another order with other threads.
WITHOUT_KERNELS = {"lpips", "haarpsi", "mdsi", "nlpd", "wavelet_l1"}
KERNELS = [name for name in losses.names() if losses.info(name).objective and name not in WITHOUT_KERNELS]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("height", "width"), [(40, 36), (300, 70)])
def test_any_number_of_threads_gives_the_same_bits(name, height, width):
    input, target = random_pair(height=height, width=width)
    weight = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(3))
    results = []
    for number in (1, 2, 3):
        with threads(number):
            results.append(value_and_gradient(name, input, target, weight))
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.fixture(params=["torch's threads", "plain threads"])
def either_way(request, monkeypatch):
    """Both ways to spread work, wherever the tests run."""
    if request.param == "plain threads":
        monkeypatch.setattr(pool, "_openmp", lambda: None)
    elif pool._openmp() is None:
        pytest.skip("this build of torch has no OpenMP that can be asked")


@pytest.mark.usefixtures("either_way")
def test_both_ways_give_the_same_bits():
    input, target = random_pair(height=300, width=70)
    with threads(1):
        expected = value_and_gradient("ssim", input, target, None)
    for number in (2, 3):
        with threads(number):
            values, gradient = value_and_gradient("ssim", input, target, None)
        assert torch.equal(values, expected[0])
        assert torch.equal(gradient, expected[1])


@pytest.mark.usefixtures("either_way")
def test_two_threads_work_at_the_same_time():
    together = threading.Barrier(2)

    def worker():
        together.wait(timeout=60)  # Raises if the other one never comes.
        return lambda _: None

    with threads(2):
        pool.run_tiles(2, worker)
    assert not together.broken


@pytest.mark.usefixtures("either_way")
def test_every_tile_is_done_once_on_no_more_threads_than_asked_for():
    done, workers = [], set()

    def worker():
        workers.add(threading.current_thread().name)
        return done.append

    with threads(3):
        pool.run_tiles(1000, worker)
    assert sorted(done) == list(range(1000))
    assert 1 <= len(workers) <= 3


def test_few_tiles_wake_no_threads():
    names = set()

    def worker():
        names.add(threading.current_thread().name)
        return lambda _: None

    with threads(3):
        pool.run_tiles(7, worker, least=4)
    assert names == {threading.current_thread().name}


@pytest.mark.usefixtures("either_way")
def test_an_error_in_a_tile_reaches_the_caller():
    def worker():
        def work(tile):
            if tile == 5:
                raise ValueError("tile 5")

        return work

    with threads(2), pytest.raises(ValueError, match="tile 5"):
        pool.run_tiles(10, worker)


@pytest.mark.usefixtures("either_way")
def test_two_threads_train_at_once():
    """Each in its own order, repeatedly; both get the same results as a single one."""
    pairs = [random_pair(height=64, width=48, seed=seed) for seed in (0, 1)]
    loss = losses.get("ssim + mae + gmsd")

    def gradient(pair):
        input = pair[0].clone().requires_grad_()
        loss(input, pair[1]).backward()
        return input.grad

    with threads(2):
        expected = [gradient(pair) for pair in pairs]
        different = []

        def train(place):
            results = [gradient(pairs[place]) for _ in range(20)]
            different.extend(place for result in results if not torch.equal(result, expected[place]))

        workers = [threading.Thread(target=train, args=(place,)) for place in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
        assert not any(worker.is_alive() for worker in workers)
    assert different == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_measures_after_a_fork_and_while_another_thread_works():
    """In a process of its own, since torch's own threads must not have been used before a fork."""
    program = """
        import os, threading, torch
        torch.set_num_threads(2)
        from lossarium import losses
        picture = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        darker = picture * 0.9
        expected = losses.ssim(darker, picture)
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                losses.ssim(darker, picture)
        worker = threading.Thread(target=busy)
        worker.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                same = torch.equal(losses.ssim(darker, picture), expected)
                os._exit(0 if same else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        worker.join()
        print("done")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip() == "done", run.stderr
