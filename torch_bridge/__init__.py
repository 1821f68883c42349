"""Laws on real training runs: find a model's symmetries, record a run, hold it against what the laws predict."""

from torch_bridge.budget import Budget, GroupBudget
from torch_bridge.callbacks import lightning_callback, trainer_callback
from torch_bridge.certify import Certificate, CertificationError, certify
from torch_bridge.data import ImageSet, open_dataset
from torch_bridge.discover import find_symmetries
from torch_bridge.evaluate import Comparison, EvaluationError, GroupComparison, evaluate
from torch_bridge.graph import TracingError
from torch_bridge.modified_flow import ModifiedFlowError, modified_gradient, modified_loss
from torch_bridge.recorder import Recorder, RecordingError
from torch_bridge.run_log import RunLog, RunLogError
from torch_bridge.symmetry_map import Block, MatrixBlock, MatrixSymmetries, NeuronSymmetries, SymmetryMap
from torch_bridge.train import Training, TrainingError, train
from torch_bridge.vgg import vgg16

__all__ = [
    "Block",
    "Budget",
    "Certificate",
    "CertificationError",
    "Comparison",
    "EvaluationError",
    "GroupBudget",
    "GroupComparison",
    "ImageSet",
    "MatrixBlock",
    "MatrixSymmetries",
    "ModifiedFlowError",
    "NeuronSymmetries",
    "Recorder",
    "RecordingError",
    "RunLog",
    "RunLogError",
    "SymmetryMap",
    "TracingError",
    "Training",
    "TrainingError",
    "certify",
    "evaluate",
    "find_symmetries",
    "lightning_callback",
    "modified_gradient",
    "modified_loss",
    "open_dataset",
    "train",
    "trainer_callback",
    "vgg16",
]
