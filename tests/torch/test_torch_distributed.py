"""Two processes on gloo: same weights as DistributedDataParallel with torch.optim."""

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
]


CHECKS = (  # one after the other in the same processes, which take seconds to start
    *("ddp", "zero"),
    *(
        "fsdp",
        "fsdp_clip",
        "fsdp_skip",
        "fsdp_objects",
        "fsdp_ema",
        "fsdp_rows",
        "fsdp_offload",
        "fsdp_host",
        "tensor_parallel",
    ),
    *("low_fsdp", "low_shards", "low_zero"),
)


def test_two_processes(tmp_path):
    import torch_workers

    torch.multiprocessing.spawn(torch_workers.run, args=(2, CHECKS, str(tmp_path)), nprocs=2)
