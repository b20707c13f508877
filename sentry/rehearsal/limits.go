package rehearsal

import "time"

// All times of rehearsals, and of what is said of changes that were not rehearsed yet, stand here.
//
// The weighing: a change is live on the twin seconds after it was made, its services were told and their transactions work; what is not known is
// whether they would also *start* with it. A rehearsal answers that in a minute, but while an administrator is at work, one for each save would
// keep the twin's services down just when a swap may be wanted, and "no" for each save would teach the owner to pass over "no". So the services
// concerned are rehearsed when there was quiet, at the latest half an hour after the first change, and for so long readiness stays as it is,
// with the open change told beside it. From then on a change that is not proven is a reason against a swap.
const (
	Quiet   = 10 * time.Minute // after the newest change
	MaxWait = 30 * time.Minute // after the oldest one, however many more come
	Grace   = 45 * time.Minute // after the oldest one readiness stays as it is: MaxWait, and as long as a rehearsal may take

	Between           = 20 * time.Minute // a rehearsal by itself and the next after changes: a program that writes its own files must not keep the twin down
	QuietAfterFailure = time.Minute      // what did not start is down anyway; a correction need not wait
	RetryFirst        = 5 * time.Minute  // a failed rehearsal is done again, since a busy machine is no mistake in a file …
	RetryMost         = 60 * time.Minute // … and less and less often

	Announce  = 5 * time.Second  // before services are stopped: the other servers ask every three seconds, and raise no alarm then
	ReadyIn   = 6 * time.Minute  // for services to say that they are ready, as long as a boot waits for them
	ProvenIn  = 90 * time.Second // for their transactions after that, seen from every server
	GivenUp   = time.Minute      // a service that has failed for so long is not waited for: init starts it again all the while
	RunLimit  = 15 * time.Minute // what is not over then explains nothing any more
	BootLimit = 15 * time.Minute // so long after a boot its proof is awaited, and nothing is rehearsed instead

	FreshFull   = 6 * time.Hour  // a start of all services that is younger makes the nightly one needless
	NightMissed = 50 * time.Hour // without a start of all services: the nightly one does not happen, which is told
)
