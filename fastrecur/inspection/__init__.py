"""What happens inside a fitted network: where the gradient goes, what the gates do, what the prediction hangs on."""

from fastrecur.exceptions import ExplodingGradientWarning, VanishingGradientWarning
from fastrecur.inspection.flow_display import GradientFlowDisplay
from fastrecur.inspection.gate_display import GateDisplay
from fastrecur.inspection.gates import gate_activations, saturation
from fastrecur.inspection.gradients import gradient_flow, input_gradients
from fastrecur.inspection.importance import permutation_importance
from fastrecur.inspection.loss_display import LossCurveDisplay

__all__ = [
    "ExplodingGradientWarning",
    "GateDisplay",
    "GradientFlowDisplay",
    "LossCurveDisplay",
    "VanishingGradientWarning",
    "gate_activations",
    "gradient_flow",
    "input_gradients",
    "permutation_importance",
    "saturation",
]
