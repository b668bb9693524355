"""File batches (tier ``batch``): requests that are uploaded as a file and answered within hours, for half the price.

1. `BatchedChat`, in place of the rate limit and the transport of a stage, offers each request to the `BatchQueue` of
   its endpoint, one per run, and raises `Deferred`: the row has no outcome in this pass, so nothing waits in memory.
2. `engine.batching` takes full files from the queue, uploads them with `BatchApi`, and polls them. It is the only
   one that creates batches, and runs in the process that holds the lock on the output folder.
3. Results become lines of the journal. When all batches of a pass have ended, the next pass finds its answers there,
   and the requests of the next stage are collected. So a corpus takes as many rounds as it has stages that ask.

**No request is in two open batches.** The journal (`journal.batch_log`) has the keys of a batch before its file is
uploaded, the id of the file before the batch is created, and the id of the batch before anything waits for it. A run
that finds a batch without an id looks for it in the endpoint's list, by our tag in its metadata and by its input
file. If it is not there, the file is deleted, so that no late request can create the batch, and only then are its
requests sent again.
"""
