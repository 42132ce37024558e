package migrate

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// Options are the choices of a run. The zero value imports everything into the tenant "".
type Options struct {
	Tenant string // of everything that is imported; push certificates have none

	// DryRun reads and judges everything, against the target too, and writes nothing. Its report is that of the run that
	// would follow, except that only the target itself knows whether a CommandUUID is already that of another command.
	DryRun bool

	// After is the Report.Position of a run that was interrupted. Empty: from the beginning.
	After string

	// Workers is how many records are written at once; stores let what arrives together share a commit. 0: 16.
	Workers int

	// Progress is called with a copy of the report from time to time, never twice at once. Nil: not at all.
	Progress func(Report)
	// Logger gets a line for every problem. Nil: none.
	Logger *slog.Logger
}

const defaultWorkers = 16

// Run imports what src has into stores, of which Checkin and Command are required; PushCertificates is used if it is there.
//
// A record that cannot be imported is counted and does not stop the run. The error is one of the source, of the target, or
// of ctx; the report is right in any case, and a run with Options.After set to its Position goes on. Repeating a run, or
// parts of it, changes nothing that has not changed at the source.
func Run(ctx context.Context, src Source, stores storage.Stores, opts Options) (Report, error) {
	r := &run{stores: stores, opts: opts, workers: opts.Workers, report: Report{DryRun: opts.DryRun, Position: opts.After}}
	if r.workers <= 0 {
		r.workers = defaultWorkers
	}
	if opts.DryRun {
		r.imagined = &imagined{devices: map[mdm.EnrollmentID]bool{}, certificates: map[mdm.Fingerprint]string{}}
	}
	if stores.PushCertificates != nil {
		if err := r.pushCertificates(ctx, src.PushCertificates(ctx)); err != nil {
			return r.report, fmt.Errorf("migrate: push certificates: %w", err)
		}
	}
	err := r.records(ctx, src.Records(ctx, opts.After))
	if err != nil {
		err = fmt.Errorf("migrate: %w", err)
	}
	return r.report, err
}

// run is a run that is under way.
type run struct {
	stores   storage.Stores
	opts     Options
	workers  int
	report   Report
	imagined *imagined // of a dry run, else nil
}

// records imports what next yields, a batch at a time. A batch holds devices or users, not both: a user needs its device.
func (r *run) records(ctx context.Context, next iter.Seq2[Record, error]) error {
	var batch []Record
	for rec, err := range next {
		if err != nil {
			if failed := r.flush(ctx, batch); failed != nil {
				return failed
			}
			return err
		}
		if len(batch) == r.workers || len(batch) > 0 && batch[0].Enrollment.ID.IsUser() != rec.Enrollment.ID.IsUser() {
			if err := r.flush(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		batch = append(batch, rec)
	}
	return r.flush(ctx, batch)
}

// flush imports a batch at once. The report takes over what is done, up to the first record that failed.
func (r *run) flush(ctx context.Context, batch []Record) error {
	done := make([]Report, len(batch))
	failed := make([]error, len(batch))
	var all sync.WaitGroup
	for i := range batch {
		all.Go(func() { done[i], failed[i] = r.record(ctx, &batch[i]) })
	}
	all.Wait()
	for i := range batch {
		if failed[i] != nil {
			return fmt.Errorf("%s: %w", batch[i].Position, failed[i])
		}
		r.note(&done[i])
	}
	if r.opts.Progress != nil && len(batch) > 0 {
		r.opts.Progress(r.report)
	}
	return nil
}

func (r *run) note(done *Report) {
	if r.opts.Logger != nil {
		for _, p := range done.Problems {
			r.opts.Logger.Warn("not imported", "record", p.Record, "reason", p.Reason)
		}
	}
	r.report.add(done)
}

// pushCertificates imports push certificates. One that the target has for the topic is replaced only by one that is valid
// longer, which is a renewal.
func (r *run) pushCertificates(ctx context.Context, next iter.Seq2[push.Certificate, error]) error {
	topics, err := r.stores.PushCertificates.PushTopics(ctx)
	if err != nil {
		return err
	}
	until := map[string]push.Topic{}
	for _, t := range topics {
		until[t.Name] = t
	}
	for c, err := range next {
		done := Report{Position: r.report.Position}
		former, known := until[c.Topic]
		switch {
		case err != nil && mdm.CodeOf(err) == mdm.Malformed:
			done.skip("push certificate", err)
		case err != nil:
			return err
		case known && micro(former.NotAfter).Equal(micro(c.NotAfter)):
			done.PushCertificates++
		case known && former.NotAfter.After(c.NotAfter):
			done.Kept++
		default:
			if err := r.savePushCertificate(ctx, c); err != nil {
				return err
			}
			done.PushCertificates++
		}
		r.note(&done)
	}
	return nil
}

func (r *run) savePushCertificate(ctx context.Context, c push.Certificate) error {
	if r.opts.DryRun {
		return nil
	}
	return r.stores.PushCertificates.SavePushCertificate(ctx, c)
}
