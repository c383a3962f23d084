"""The error that is meant for people."""


class MetricError(ValueError):
    """Images, detectors or names of metrics that nothing can be measured with: one line that says what to do.

    In several processes it is raised in all of them.
    """
