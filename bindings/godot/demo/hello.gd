extends SceneTree


func _init() -> void:
	var model := FlowTurboModel.new()
	model.file = "res://textures.ftplan"
	var texture := FlowTurboTexture.new()
	texture.automatic = false
	texture.seamless = FlowTurboTexture.SEAMLESS_NONE
	texture.model = model
	texture.class_label = "brick"
	texture.seed = 7
	if texture.generate() == OK:
		texture.get_image().save_png("brick.png")
	quit()
