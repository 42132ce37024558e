package migrate

// MaxProblems bounds the list in a [Report]; its counts have all of them.
const MaxProblems = 1000

// Report says what a run did; of a dry run, what it would do. Its counts are of what the target has from the source then,
// so a repeated run reports the same ones; Unchanged says for how many channels there was nothing to write.
type Report struct {
	DryRun bool

	Enrollments      int // device channels
	Users            int // user channels
	Certificates     int // bindings, those of replaced certificates too
	UnlockTokens     int
	BootstrapTokens  int
	Commands         int // on queues; one for ten devices counts ten times
	PushCertificates int

	Unchanged int // of Enrollments and Users: the target had them from an earlier run
	Unbound   int // of Enrollments: without a certificate, see identity.Policy.AdoptUntil

	Kept        int // channels and push certificates that the target has, and knows better than the source
	NotEnrolled int // channels that the source does not count as managed
	Skipped     int // records, or parts of records, that could not be imported: there is a Problem for each

	Problems []Problem // at most MaxProblems
	Position string    // after the last record that is done; a run with Options.After goes on there
}

// Problem is something that was not imported, and why. It holds no secrets.
type Problem struct {
	Record string // its Position, or what it is
	Reason string
}

// skip notes a problem.
func (r *Report) skip(record string, why error) {
	r.Skipped++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, Problem{Record: record, Reason: why.Error()})
	}
}

// add adds what became of later records.
func (r *Report) add(o *Report) {
	r.Enrollments += o.Enrollments
	r.Users += o.Users
	r.Certificates += o.Certificates
	r.UnlockTokens += o.UnlockTokens
	r.BootstrapTokens += o.BootstrapTokens
	r.Commands += o.Commands
	r.PushCertificates += o.PushCertificates
	r.Unchanged += o.Unchanged
	r.Unbound += o.Unbound
	r.Kept += o.Kept
	r.NotEnrolled += o.NotEnrolled
	r.Skipped += o.Skipped
	r.Problems = append(r.Problems, o.Problems[:min(len(o.Problems), MaxProblems-len(r.Problems))]...)
	r.Position = o.Position
}
