package steps

import "testing"

func TestPostfix(t *testing.T) { nested(t, "postfix", Postfix()) }
