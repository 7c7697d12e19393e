// A pool's settings, read from its own configuration by the names of the fields: older and newer
// versions have some and lack others.

package door

import (
	"reflect"
	"time"
)

// SettingsOf reads what there is in a configuration, a struct. What isn't there keeps the default.
func SettingsOf(configuration any) Settings {
	c := fields{reflect.Indirect(reflect.ValueOf(configuration))}
	s := Settings{
		MinDifficulty:   number(c, "MinDifficulty"),
		MaxDifficulty:   number(c, "MaxDifficulty"),
		SharesPerMinute: number(c, "TargetSharesPerMin"),
		EnforceLimits:   flag(c, "EnforceSuggestedDifficultyLimits"),
		MaxConnections:  int(number(c, "MaxConns")),
		PasswordNeeded:  flag(c, "StratumPasswordEnabled"),
		Password:        text(c, "StratumPassword"),
		PublicURL:       text(c, "StatusPublicURL"),
		// goPool took these two readings in turn; the setting came with the second.
		BIP310Version: c.has("ShareAllowOutOfMaskVersionBits"),
	}
	if checked := c.named("ShareCheckNTimeWindow"); !checked.IsValid() || flag(c, "ShareCheckNTimeWindow") {
		s.MaxNTimeAhead = time.Duration(number(c, "ShareNTimeMaxForwardSeconds")) * time.Second
	}
	if s.MaxDifficulty > 0 && s.MaxDifficulty < s.MinDifficulty {
		s.MaxDifficulty = s.MinDifficulty // as goPool has it
	}
	return s
}

// fields of a struct, by name.
type fields struct{ of reflect.Value }

func (f fields) named(name string) reflect.Value {
	if f.of.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return f.of.FieldByName(name)
}

func (f fields) has(name string) bool { return f.named(name).IsValid() }

// number is a field that is a number of 0 or more, else 0.
func number(f fields, name string) float64 {
	value := f.named(name)
	switch {
	case !value.IsValid():
		return 0
	case value.CanInt():
		return max(float64(value.Int()), 0)
	case value.CanFloat() && value.Float() > 0:
		return value.Float()
	}
	return 0
}

// flag is a field that is true.
func flag(f fields, name string) bool {
	value := f.named(name)
	return value.IsValid() && value.Kind() == reflect.Bool && value.Bool()
}

// text is a field that is a text.
func text(f fields, name string) string {
	value := f.named(name)
	if !value.IsValid() || value.Kind() != reflect.String {
		return ""
	}
	return value.String()
}
