package workflow

import (
	"errors"
	"sync"
)

// pool takes steps at once. A slow one holds up no other, as long as there are workers.
type pool struct {
	free  chan struct{} // has one for each that works
	ended chan struct{} // has one if steps ended since somebody waited

	mu    sync.Mutex
	group sync.WaitGroup
	begun int
	over  int
	errs  []error
}

// run runs f when a worker is free.
func (p *pool) run(f func() error) {
	p.free <- struct{}{}
	p.mu.Lock()
	p.begun++
	p.mu.Unlock()
	p.group.Go(func() {
		err := f()
		p.mu.Lock()
		p.over++
		if err != nil {
			p.errs = append(p.errs, err)
		}
		p.mu.Unlock()
		<-p.free
		select {
		case p.ended <- struct{}{}:
		default:
		}
	})
}

// done returns how many have ended.
func (p *pool) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// wait returns when more than before have ended, whose steps may have made others due. It is false if none is left to wait for.
func (p *pool) wait(before int) bool {
	for {
		p.mu.Lock()
		over, begun := p.over, p.begun
		p.mu.Unlock()
		if over > before || over == begun {
			return over > before
		}
		<-p.ended
	}
}

// failed returns err, or what a step that ended has failed with.
func (p *pool) failed(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || len(p.errs) == 0 {
		return err
	}
	err, p.errs = errors.Join(p.errs...), nil
	return err
}

// close waits for all.
func (p *pool) close() error {
	p.group.Wait()
	return p.failed(nil)
}
