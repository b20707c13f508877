package health

import "time"

// All limits and times stand here. Where two numbers are given, the first makes a warning and the second is critical, which stands in the way of a swap;
// back is by how much a number has to get better before it is not told any more.
const (
	tick         = 5 * time.Second
	stuckAfter   = 2 * time.Minute // a look takes milliseconds
	failuresTold = 3

	cheap      = 30 * time.Second // between two looks at what the kernel has at hand
	everyESP   = 15 * time.Minute
	everyDisk  = 10 * time.Minute // smartctl; a disk is asked two dozen commands
	everyFiles = 10 * time.Minute
	everyCerts = 30 * time.Second

	diskAnswers = 30 * time.Second // to all of smartctl's questions

	// Percent of the memory in use. A server that gives 90 % to its services is used well; from 97 % on the kernel ends programs.
	memoryWarn, memoryCrit, memoryBack = 92, 97, 3
	memoryAfter, memoryCritAfter       = 5 * time.Minute, 2 * time.Minute
	swapWarn, swapBack                 = 80, 15 // percent of the swap in use
	// Percent of the last five minutes in which all work waited for memory, or some for a processor or a disk.
	memoryStallWarn, memoryStallBack = 10, 5
	cpuStallWarn, cpuStallBack       = 80, 20
	ioStallWarn, ioStallBack         = 60, 20
	stallAfter                       = 10 * time.Minute // a nightly backup's beginning is no finding
	loadWarn, loadBack               = 8, 2             // processes for each processor, on the average of a quarter of an hour

	// Free space: percent, but of a large filesystem no more than so many bytes.
	spaceWarn, spaceCrit           = 10, 3
	spaceMostWarn, spaceMostCrit   = 50 << 30, 5 << 30
	spaceBack                      = 0.25 // of the limit
	inodesWarn, inodesCrit, inBack = 90, 98, 3
	espWarn, espBack               = 95, 3 // percent used: an update replaces what is there

	// The forecast: a straight line through the last hours that fits well enough, and meets the end soon.
	trendEvery  = 5 * time.Minute
	trendWindow = 12 * time.Hour
	trendLeast  = 2 * time.Hour
	trendFit    = 0.8 // of what changes is told by the line (r²)
	fullWarn    = 5 * 24 * time.Hour
	fullBack    = 7 * 24 * time.Hour
	trendHold   = time.Hour

	syncSlow      = 3 * 24 * time.Hour // left of a rebuild or a check at the speed of now
	syncSlowAfter = 15 * time.Minute

	// °C. Processors tell their own limits; these are for those that do not.
	cpuHot, cpuTooHot   = 90, 98
	diskHot, diskTooHot = 60, 70
	nvmeHot, nvmeTooHot = 75, 84
	tempBelow           = 8 // the warning is so much below a limit at which the chip protects itself
	tempBack            = 5
	sensorAfter         = time.Minute
	fanAfter            = 3 * time.Minute
	sensorHold          = 10 * time.Minute

	eccWindow, eccWarn = 24 * time.Hour, 10 // memory errors that were mended: single ones come from outer space

	reallocatedWarn = 10 // sectors; a few are normal in a disk's life
	crcWarn         = 10 // in a day
	crcWindow       = 24 * time.Hour
	wearWarn        = 90 // percent of the life that the maker gives
	smartHold       = 30 * time.Minute

	kernelWindow  = 24 * time.Hour // so long an event counts
	resetsWarn    = 3
	machinesWarn  = 5
	flapWindow    = time.Hour
	flapsWarn     = 3
	diskGoneAfter = 2 * time.Minute

	linkAfter   = time.Minute
	nicWindow   = 10 * time.Minute
	nicErrors   = 100  // in nicWindow …
	nicShare    = 1e-4 // … and of so many packets each
	nicHold     = 30 * time.Minute
	certWarn    = 21 * 24 * time.Hour
	certCrit    = 2 * 24 * time.Hour
	logLarge    = 2 << 30
	logLargeEnd = 1 << 30
	logGrowth   = 200 << 20 // bytes in logWindow
	logWindow   = time.Hour
	logHold     = time.Hour
)
