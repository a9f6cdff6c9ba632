"""The backend ``cuda``: the packages mamba-ssm and causal-conv1d behind our doors.

They take other layouts, dtypes and options than our doors do; what they cannot do is composed from
what they can, exactly, or refused by name. :mod:`finchaos.ssm.backends` says when they are used.
"""

from finchaos.ssm.cuda.conv import causal_conv, conv_limit
from finchaos.ssm.cuda.packages import absence
from finchaos.ssm.cuda.selective import scan_limit, selective_scan
from finchaos.ssm.cuda.ssd import ssd_limit, ssd_scan

__all__ = [
    "absence",
    "causal_conv",
    "conv_limit",
    "scan_limit",
    "selective_scan",
    "ssd_limit",
    "ssd_scan",
]
