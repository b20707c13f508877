package health

import (
	"math"
	"time"
)

// sample is a number at a time.
type sample struct {
	at time.Time
	v  float64
}

// trend keeps samples of some hours to see where they go.
type trend struct{ samples []sample }

// add takes in v, no more often than each trendEvery.
func (t *trend) add(now time.Time, v float64) {
	if n := len(t.samples); n > 0 && now.Sub(t.samples[n-1].at) < trendEvery {
		if now.Before(t.samples[n-1].at) { // the clock was set back
			t.samples = nil
		}
		return
	}
	t.samples = append(t.samples, sample{now, v})
	for len(t.samples) > 0 && now.Sub(t.samples[0].at) > trendWindow {
		t.samples = t.samples[1:]
	}
}

// reaches tells when the line through the samples meets limit; false if they are too few, no line, or do not go there.
func (t *trend) reaches(limit float64, now time.Time) (time.Time, bool) {
	n := float64(len(t.samples))
	if n < 3 || t.samples[len(t.samples)-1].at.Sub(t.samples[0].at) < trendLeast {
		return time.Time{}, false
	}
	var sx, sy, sxx, sxy, syy float64
	for _, s := range t.samples {
		x, y := s.at.Sub(now).Hours(), s.v-t.samples[0].v // small numbers keep their digits
		sx, sy, sxx, sxy, syy = sx+x, sy+y, sxx+x*x, sxy+x*y, syy+y*y
	}
	dx, dy, d := n*sxx-sx*sx, n*syy-sy*sy, n*sxy-sx*sy
	if dx <= 0 || dy <= 0 || d <= 0 || d*d/(dx*dy) < trendFit {
		return time.Time{}, false
	}
	slope := d / dx // an hour
	hours := (limit - t.samples[len(t.samples)-1].v) / slope
	if math.IsNaN(hours) || hours > 24*365 {
		return time.Time{}, false
	}
	return now.Add(time.Duration(max(hours, 0) * float64(time.Hour))), true
}

// counter keeps what a counter was, to tell how much it has grown. One that begins anew has not grown.
type counter struct{ samples []sample }

// growth takes in v and gives by how much it has grown within window.
func (c *counter) growth(now time.Time, v uint64, window time.Duration) uint64 {
	n := len(c.samples)
	if n > 0 && (float64(v) < c.samples[n-1].v || now.Before(c.samples[n-1].at)) {
		c.samples, n = nil, 0
	}
	// The last one stands for now: 48 in a window are enough.
	if n > 1 && now.Sub(c.samples[n-2].at) < window/48 {
		c.samples = c.samples[:n-1]
	}
	c.samples = append(c.samples, sample{now, float64(v)})
	// The newest that is older than the window is where it began.
	for len(c.samples) > 1 && now.Sub(c.samples[1].at) >= window {
		c.samples = c.samples[1:]
	}
	return uint64(float64(v) - c.samples[0].v)
}
