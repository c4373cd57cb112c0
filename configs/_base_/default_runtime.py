"""How a run behaves, whatever is trained: hooks, evaluation loops, randomness. Inherit from it and add the rest."""

default_scope = "perception"

default_hooks = dict(
    logger=dict(type="ProgressHook", interval=50),
    scalars=dict(type="ScalarsHook", interval=10),
    checkpoint=dict(type="AtomicCheckpointHook", interval=1000, max_keep=3),
    sampler_seed=None,                             # EpochSampler knows the epoch by itself
)
visualizer = dict(type="Visualizer")               # draws nothing; ScalarsHook writes the curves

val_cfg = dict(type="EvaluationLoop")
test_cfg = dict(type="PredictionLoop")

# Threads of torch; None: all cores, shared among the processes of a run, or what OMP_NUM_THREADS says. One data worker
# (num_workers=1, persistent_workers=True) keeps two cores busy; if reading takes as long as computing, num_threads=1.
num_threads = None
device = "auto"                                    # "cpu", "cuda" or "cuda:N"
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork"))

randomness = dict(seed=0)
log_level = "INFO"
load_from = None
resume = False

sync_bn = None                                     # "all_reduce": statistics of all processes; "frozen": never updated
find_unused_parameters = False                     # True if some parameters take no part in a step (several processes)
