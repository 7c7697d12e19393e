//go:build sv2bridge

package main

import (
	"encoding/hex"
	"slices"
	"sync/atomic"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// This file knows the tip that goPool's jobs are for. goPool may tell a miner of two jobs in either
// order; the one for the tip before is left out.

//sv2bridge:if func (*JobManager).CurrentJob() *Job
//sv2bridge:if field Job.Template GetBlockTemplateResult
//sv2bridge:if field GetBlockTemplateResult.Previous string

func init() {
	sv2bridgeTipOf = func(jobs *JobManager) func(sv2.Hash) bool {
		var seen atomic.Pointer[sv2bridgeTip]
		return func(prevHash sv2.Hash) bool {
			job := jobs.CurrentJob()
			if job == nil {
				return true
			}
			tip := seen.Load()
			if tip == nil || tip.job != job {
				tip = &sv2bridgeTip{job: job}
				hash, err := hex.DecodeString(job.Template.Previous)
				tip.known = err == nil && len(hash) == len(tip.hash)
				if tip.known {
					slices.Reverse(hash) // written as numbers are, and hashed the other way round
					tip.hash = sv2.Hash(hash)
				}
				seen.Store(tip)
			}
			return !tip.known || tip.hash == prevHash
		}
	}
}

// sv2bridgeTip is the prev-hash of a job.
type sv2bridgeTip struct {
	job   *Job
	hash  sv2.Hash
	known bool
}
