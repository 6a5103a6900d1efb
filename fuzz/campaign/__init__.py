# SPDX-License-Identifier: BSD-2-Clause
"""The campaign tool; see docs/fuzzing.md."""
