"""The step of a worker: an event and a state become a changed state and effects.

``worker_step`` decides; ``events`` go in and ``effects`` come out. ``pool_state`` has verdicts and
answers, ``check_schedule`` the times of health checks, ``spec_state`` the CDI spec, and
``endpoint_state`` the registration with the kubelet.
"""
