"""GetPreferredAllocation: the devices of a pool that fit together best, by the pool's policy.

topology.py: the topology of the pool. request.py: the request, and the candidates that the NUMA
rule leaves. compact.py, packed.py, spread.py: the best choice by each policy; fewest.py: the search
that two of them share; grouped.py: whole IOMMU groups. budget.py: the limit of the search.
choose.py combines them, and has the choice beyond that limit.
"""
