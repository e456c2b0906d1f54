"""Ctrl-C ends the command with 130 and one line, while it is imported and at exit, too."""

import subprocess
import sys
import textwrap

import pytest

STOPPED = "\nlossarium: stopped\n"
WHILE_IMPORTED = """
    import signal, sys
    from lossarium.cli.entry import main

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "MODULE":
                signal.raise_signal(signal.SIGINT)

    sys.meta_path.insert(0, Interrupted())
    sys.argv[1:] = ["losses"]
    sys.exit(main())
"""
AT_EXIT = """
    import atexit, signal, sys
    from lossarium.cli.entry import main

    class Last:
        def __del__(self):
            WHEN_TORN_DOWN

    def at_exit():
        WHEN_EXITING

    sys.argv[1:] = ["set", "no-trial", "learning_rate=1"]
    sys.last = Last()
    status = main()
    atexit.register(at_exit)
    sys.exit(status)
"""
RAISE = "signal.raise_signal(signal.SIGINT)"


def run(program):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("module", ["lossarium.cli.main", "argparse", "lossarium.cli.swap"])
def test_ctrl_c_while_the_command_is_imported_ends_it_in_one_line(module):
    process = run(WHILE_IMPORTED.replace("MODULE", module))
    assert (process.returncode, process.stderr, process.stdout) == (130, STOPPED, "")


SWALLOWED = """
    import signal, sys
    from lossarium.cli.entry import main

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "lossarium.training.control":
                sys.meta_path.remove(self)
                try:
                    signal.raise_signal(signal.SIGINT)
                except BaseException:
                    print("swallowed")

    sys.meta_path.insert(0, Interrupted())
    sys.argv[1:] = ["set", "FOLDER", "learning_rate=1"]
    sys.exit(main())
"""
"""An import of `set` that catches all exceptions, as NumPy, torch and modules in C do."""


def test_ctrl_c_while_a_command_imports_a_module_is_not_swallowed(tmp_path):
    (tmp_path / "trial.toml").touch()
    process = run(SWALLOWED.replace("FOLDER", tmp_path.as_posix()))
    assert (process.returncode, process.stderr) == (130, STOPPED)
    assert "swallowed" not in process.stdout


def test_ctrl_c_in_a_destructor_is_not_dropped(tmp_path):
    program = f"""
        import signal, sys, time
        import lossarium.cli.set
        from lossarium.cli.entry import main

        class Deleted:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)

        def delete(_):
            sys.deleted = Deleted()
            del sys.deleted
            time.sleep(60)

        lossarium.cli.set.run = delete
        sys.argv[1:] = ["set", "{tmp_path.as_posix()}", "learning_rate=1"]
        sys.exit(main())
    """
    process = run(program)
    assert (process.returncode, process.stderr) == (130, STOPPED)


def test_ctrl_c_at_exit_ends_it_in_one_line():
    process = run(AT_EXIT.replace("WHEN_EXITING", RAISE).replace("WHEN_TORN_DOWN", "pass"))
    assert process.returncode == 130
    assert process.stderr.endswith(STOPPED)
    assert "Traceback" not in process.stderr


def test_ctrl_c_when_all_is_done_does_not_change_the_status():
    process = run(AT_EXIT.replace("WHEN_EXITING", "pass").replace("WHEN_TORN_DOWN", RAISE))
    assert process.returncode == 2
    assert process.stderr.startswith("lossarium: error: no-trial is not a trial's folder")
    assert process.stderr.count("\n") == 1


def test_ctrl_c_that_is_ignored_stays_ignored():
    program = WHILE_IMPORTED.replace("MODULE", "lossarium.cli.main").replace('"losses"', '"--version"')
    process = run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + textwrap.dedent(program))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("lossarium ")


def test_little_is_imported_before_ctrl_c_is_handled():
    listed = (
        "import sys; before = {*sys.modules}; import lossarium.cli.entry; print(*{*sys.modules} - before)"
    )
    imported = run(listed).stdout.split()
    assert "lossarium.cli.entry" in imported
    for slow in ("typing", "argparse", "pathlib", "re", "torch", "numpy", "lossarium.cli.main"):
        assert slow not in imported
