"""Every kernel is compiled once on a machine, and Ctrl-C meanwhile is never lost."""

from tests.compute.test_kernel_cache import check_second_process


def test_no_later_process_compiles_any_loss_augmentation_or_measure(tmp_path):
    """Every loss with its options: value alone, gradient, weighted, grey, several windows."""
    compiled = check_second_process(tmp_path)
    assert len(compiled) > 60
