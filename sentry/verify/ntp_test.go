package verify

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// ntpServer answers each request with its clock moved by offset, at stratum and with the leap indicator.
func ntpServer(t *testing.T, offset time.Duration, stratum, leap byte) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	stamp := func(b []byte, at time.Time) {
		binary.BigEndian.PutUint32(b, uint32(at.Unix()+2208988800))
		binary.BigEndian.PutUint32(b[4:], uint32((uint64(at.Nanosecond())<<32)/1e9))
	}
	go func() {
		for {
			q := make([]byte, 128)
			n, from, err := c.ReadFrom(q)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			now := time.Now().Add(offset)
			a := make([]byte, 48)
			a[0], a[1] = leap<<6|4<<3|4, stratum
			copy(a[12:16], "LOCL")
			stamp(a[16:], now)
			copy(a[24:32], q[40:48])
			stamp(a[32:], now)
			stamp(a[40:], now)
			_, _ = c.WriteTo(a, from)
		}
	}()
	return c.LocalAddr().String()
}

func TestNTP(t *testing.T) {
	for _, c := range []struct {
		name string
		addr string
		want Status
	}{
		{"right", ntpServer(t, 0, 10, 0), Pass},
		{"an hour off", ntpServer(t, time.Hour, 3, 0), Warn},
		{"kiss of death", ntpServer(t, 0, 0, 0), Fail},
		{"unsynchronised", ntpServer(t, 0, 3, 3), Fail},
		{"nobody", closedPort(t), Fail},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if got := NTP(ctx, at(t, c.addr, nil)); got.Status != c.want {
			t.Errorf("%s: NTP = %+v; want %s", c.name, got, c.want)
		}
		cancel()
	}
	if got := NTP(t.Context(), Target{Address: "127.0.0.1", Params: map[string]string{"offset": "much"}}); got.Status != Unknown {
		t.Errorf("bad offset: NTP = %+v", got)
	}
}
