// Jobs that several channels have in common.

package sv2

import (
	"context"
	"sync"
)

// commonKey is what channels with the same job have in common.
type commonKey struct {
	group any // of PoolConfig.JobGroup
	room  int // that the coinbase leaves for the whole extranonce
}

// commonJob is made by the first channel that wants it; the others wait.
type commonJob struct {
	once       sync.Once
	job        *Job
	generation uint64
	err        error
}

// commonJobs are those of one Refresh: the next makes new ones, so that no channel gets the same work twice.
type commonJobs struct {
	pool *Pool
	mu   sync.Mutex // held for moments
	jobs map[commonKey]*commonJob
}

// of is the job for a channel, whose turn the caller has.
func (j *commonJobs) of(ctx context.Context, c *poolChannel) (*Job, uint64, error) {
	if j.pool.config.JobGroup == nil {
		return j.pool.build(ctx, c)
	}
	key := commonKey{j.pool.config.JobGroup(c.info.Account), len(c.info.Prefix) + c.info.ExtranonceSize}
	if key.group == nil {
		return j.pool.build(ctx, c)
	}
	j.mu.Lock()
	common := j.jobs[key]
	if common == nil {
		common = &commonJob{}
		j.jobs[key] = common
	}
	j.mu.Unlock()
	common.once.Do(func() { common.job, common.generation, common.err = j.pool.build(ctx, c) })
	return common.job, common.generation, common.err
}
