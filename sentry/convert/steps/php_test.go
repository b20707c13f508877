package steps

import "testing"

func TestPHP(t *testing.T) { nested(t, "php", PHP()) }
