"""Several binary heads of one shape as one network, so that all of them train in one pass."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Resnet23.classifiers.heads import create_binary_classifier_head


class StackedHeads(nn.Module):
    """K heads of `create_binary_classifier_head` beside each other: features (N, F) -> logits (N, K).

    Each column is what the head alone gives, and learns what it alone learns; dropout removes the same features for
    all of them. H hidden features of K heads are one matrix product of K * H columns.
    """

    def __init__(self, heads: Sequence[nn.Sequential]) -> None:
        super().__init__()
        dropout, hidden, norm, *_ = heads[0]
        self.dropout_rate, self.norm_epsilon = dropout.p, norm.eps
        self.input_features, self.hidden_features = hidden.in_features, hidden.out_features
        with torch.no_grad():
            stacked = [
                torch.stack(parameters) for parameters in zip(*(head.parameters() for head in heads), strict=True)
            ]
        self.hidden_weight, self.hidden_bias = (nn.Parameter(value) for value in stacked[:2])  # (K, H, F), (K, H)
        self.norm_weight, self.norm_bias = (nn.Parameter(value) for value in stacked[2:4])  # (K, H) both
        self.output_weight, self.output_bias = (nn.Parameter(value.squeeze(1)) for value in stacked[4:])  # (K, H), (K,)

    def forward(self, features: Tensor) -> Tensor:
        features = F.dropout(features, self.dropout_rate, self.training)
        hidden = F.linear(features, self.hidden_weight.flatten(0, 1), self.hidden_bias.flatten())  # (N, K * H)
        hidden = hidden.unflatten(1, self.hidden_bias.shape)  # (N, K, H)
        normalised = F.layer_norm(hidden, hidden.shape[2:], eps=self.norm_epsilon)
        active = torch.tanh(normalised * self.norm_weight + self.norm_bias)
        return (active * self.output_weight).sum(dim=2) + self.output_bias

    @torch.no_grad()
    def split(self) -> list[nn.Sequential]:
        """The K heads with their weights, in evaluation mode."""
        parameters = [*self.parameters()]
        parameters[4] = parameters[4].unsqueeze(1)  # (K, 1, H), as of a linear layer with one output
        parameters[5] = parameters[5].unsqueeze(1)
        heads = []
        for values in zip(*parameters, strict=True):
            head = create_binary_classifier_head(self.input_features, self.hidden_features, self.dropout_rate)
            for parameter, value in zip(head.parameters(), values, strict=True):
                parameter.copy_(value)
            heads.append(head.to(values[0].device).eval())
        return heads
